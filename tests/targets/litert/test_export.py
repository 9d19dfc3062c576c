"""A `.tflite` holds what the model promised, or is not written."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from paring.core.errors import ParingError
from paring.core.model import Invariant, Source, TensorSpec
from paring.core.target import ExportOptions
from paring.load import probe
from paring.targets.litert import LiteRT, contents, flatbuffer
from paring.targets.litert.export import export
from paring.testing.models import quantized, tiny


@pytest.fixture(scope="module")
def int8_file(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return export(quantized(), tmp_path_factory.mktemp("q") / "m.tflite", ExportOptions(io="int8")).read_bytes()


def test_every_weight_is_int8_with_the_scales_of_the_model(int8_file: bytes) -> None:
    stored = [t for t in contents.constants(int8_file) if t.dtype == "int8"]
    promised = sorted(len(invariant.value) for invariant in quantized().invariants)
    assert sorted(len(tensor.scales) for tensor in stored) == promised
    assert not [t for t in contents.constants(int8_file) if t.dtype == "float32"]


def test_float_ends_are_one_operator_each(int8_file: bytes, tmp_path: Path) -> None:
    with_ends = contents.operators(export(quantized(), tmp_path / "m.tflite").read_bytes())
    bare = contents.operators(int8_file)
    assert with_ends == {**bare, "QUANTIZE": 1, "DEQUANTIZE": 1}
    assert not {"QUANTIZE", "DEQUANTIZE"} & set(bare)


def test_the_file_tells_what_it_is(int8_file: bytes) -> None:
    metadata = flatbuffer.read_metadata(int8_file)
    assert metadata["layout"] == "NCHW"
    assert [TensorSpec.from_json(spec) for spec in metadata["inputs"]] == list(quantized().inputs)


def test_names_of_tensors_are_short_and_unlike(int8_file: bytes) -> None:
    names = [tensor.name for tensor in contents.constants(int8_file)]
    assert len(set(names)) == len(names)
    assert max(map(len, names)) < 32


def test_a_model_that_came_out_float_is_not_written(tmp_path: Path) -> None:
    promised = replace(tiny(), invariants=(Invariant("scale", "classifier", [0.1] * 10),))
    with pytest.raises(ParingError, match="came out without their scales") as caught:
        export(promised, tmp_path / "m.tflite")
    assert "classifier" in caught.value.problem
    assert not list(tmp_path.iterdir())


def test_a_scale_that_is_off_is_noticed(tmp_path: Path) -> None:
    model = quantized()
    first, *others = model.invariants
    other = replace(first, value=[first.value[0] * 1.001, *first.value[1:]])
    with pytest.raises(ParingError, match="without their scales"):
        export(replace(model, invariants=(other, *others)), tmp_path / "m.tflite")


def test_what_the_converter_says_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import litert_torch

    def fail(*args: object, **kwargs: object) -> None:
        raise RuntimeError("no lowering today")

    monkeypatch.setattr(litert_torch, "convert", fail)
    with pytest.raises(ParingError, match="no lowering today"):
        export(tiny(), tmp_path / "m.tflite")
    assert not list(tmp_path.iterdir())


def test_nothing_is_printed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    export(tiny(), tmp_path / "m.tflite")
    assert capfd.readouterr() == ("", "")


def test_several_inputs_and_outputs_keep_their_names_and_order(tmp_path: Path) -> None:
    from paring.targets.litert.runner import LiteRTRunner

    class Two(nn.Module):
        def forward(self, left: torch.Tensor, right: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return left - right, left.sum(1)

    specs = (TensorSpec("left", ("batch", 4)), TensorSpec("right", ("batch", 4)))
    model = probe.model(Two(), Source("test"), specs)
    runner = LiteRTRunner(export(model, tmp_path / "m.tflite"))
    left, right = torch.arange(8.0).reshape(2, 4), torch.ones(2, 4)
    found = runner.run({"right": right.numpy(), "left": left.numpy()})
    assert found["output"].tolist() == (left - right).tolist()
    assert found["output_1"].tolist() == left.sum(1).tolist()


class Counted(nn.Module):
    """Gives x, 2 x, 3 x and so on."""

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Twelve of the same shape."""
        return tuple(x * (place + 1) for place in range(12))


def test_more_than_ten_outputs_keep_their_order(tmp_path: Path) -> None:
    model = probe.model(Counted(), Source("test"), (TensorSpec.of("x", (2,)),))
    file = export(model, tmp_path / "m.tflite")
    found = LiteRT().open(file).run({"x": np.ones((1, 2), np.float32)})
    assert [float(found[spec.name][0, 0]) for spec in model.outputs] == list(range(1, 13))
