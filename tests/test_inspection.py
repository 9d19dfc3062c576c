"""What a model is made of, and what can be done with it."""

import json
import sys
from pathlib import Path

import pytest
import torch

from paring import inspection, load
from paring.core.errors import ParingError
from paring.inspection import of_artifact, of_model
from paring.targets import TARGETS
from paring.targets.litert import LiteRT
from paring.testing.models import quantized, tiny, unknown_operator


def test_a_model_is_taken_apart() -> None:
    found = of_model(tiny())
    assert found.sizes == {"float32": 4 * 338, "int8": 338}
    assert set(found.techniques["quantize.static"].acts_on) == {"stem.0", "body.0", "body.3", "classifier"}
    assert found.techniques["quantize.static"].leaves == ()
    assert "stem.1" in found.techniques["finetune"].acts_on
    assert found.targets["litert"].problems == ()
    data = json.loads(json.dumps(found.as_json()))
    assert (data["parameters"], data["macs"]) == (338, sum(layer["macs"] for layer in data["layers"]))


def test_what_cannot_be_done_comes_with_its_reason() -> None:
    found = of_model(unknown_operator())
    assert {one.layer: "no int8 rule" in one.reason for one in found.techniques["quantize.static"].leaves} == {
        "strange": True,
        "stranger": True,
    }
    assert [problem.where for problem in found.targets["litert"].problems] == ["strange", "stranger"]


def test_a_quantized_model_is_not_acted_on_again() -> None:
    found = of_model(quantized())
    for technique in found.techniques.values():
        assert technique.acts_on == ()
        assert technique.leaves or "quantized" in technique.problem
    assert found.model.history[-1].step == "quantize.static"


def test_a_missing_package_is_a_line_and_no_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))  # what LiteRT knows is remembered there
    ours = ("paring.targets.litert", "paring.targets.int8", "paring.steps.quantize")
    for name in [key for key in sys.modules if key.startswith(ours)]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "litert_torch", None)
    monkeypatch.setitem(sys.modules, "litert_torch.backend", None)
    monkeypatch.setitem(sys.modules, "torchao.quantization.pt2e.quantizer", None)
    found = of_model(tiny())
    assert "pip install 'paring[quantize]'" in found.techniques["quantize.static"].problem
    assert "pip install 'paring[litert]'" in found.targets["litert"].problem


def test_frozen_weights_and_untraceable_models_are_told() -> None:
    model = tiny()
    model.module.classifier.requires_grad_(False)  # type: ignore[union-attr]
    (left,) = of_model(model).techniques["finetune"].leaves
    assert (left.layer, "frozen" in left.reason) == ("classifier", True)
    found = of_model(load.open(f"torch:{__name__}:Untraceable", shape=(4,)))
    assert "cannot trace it" in found.techniques["quantize.static"].problem
    assert "cannot trace it" in found.targets["litert"].problems[0].problem


def Untraceable():  # noqa: N802  # a factory
    from torch import Tensor, nn

    class Depends(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.linear(x) if float(x.sum()) < 1 else x

    return Depends()


def test_a_file_tells_its_operators_and_tensors(tmp_path: Path) -> None:
    file = LiteRT().export(quantized(), tmp_path / "m.tflite")
    found = of_artifact(file, LiteRT())
    assert found.bytes == file.stat().st_size
    assert found.contents.operators["FULLY_CONNECTED"] == 1
    stored = [tensor for tensor in found.contents.tensors if tensor.dtype == "int8" and tensor.bytes]
    assert sorted(tensor.bytes for tensor in stored) == [64, 72, 72, 80]
    assert json.loads(json.dumps(found.as_json()))["kind"] == "artifact"
    (tmp_path / "n.tflite").write_bytes(b"x")
    with pytest.raises(ParingError):
        of_artifact(tmp_path / "n.tflite", LiteRT())


def test_what_steps_and_targets_say_is_what_each_says_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny()
    alone = {name: inspection._verdict(name, model) for name in TARGETS.names()}
    exports = []
    export = torch.export.export
    monkeypatch.setattr(torch.export, "export", lambda *args, **options: exports.append(1) or export(*args, **options))
    found = inspection.of_model(model)
    assert found.targets == alone
    assert len(exports) <= 6  # for each family of steps and of targets, not for each of them
