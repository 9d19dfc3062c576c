"""How a package is fed and read on a Mac; PyTorch stands in for Core ML, which is on no other machine."""

import platform
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from paring.core.errors import ParingError
from paring.core.target import Array
from paring.measure.answers import of_model
from paring.targets.coreml import CoreML
from paring.targets.coreml.library import ct
from paring.testing.mil import answers
from paring.testing.models import tiny


class StandIn:
    """`coremltools.models.MLModel`, as far as the runner uses it."""

    __proxy__: object = object()
    _framework_error = None

    def __init__(self, path: str) -> None:
        self._path = Path(path)

    def predict(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        assert all(len(array) == 1 for array in inputs.values())
        return answers(self._path, inputs)


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return CoreML().export(tiny(), tmp_path_factory.mktemp("coreml") / "m.mlpackage")


@pytest.fixture(autouse=True)
def mac(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    monkeypatch.setattr(platform, "mac_ver", lambda: ("15.0", ("", "", ""), "arm64"))
    monkeypatch.setattr(ct.models, "MLModel", StandIn)


def test_it_takes_and_gives_what_the_model_does(package: Path) -> None:
    runner, images = CoreML().open(package), {"image": np.random.default_rng(0).normal(size=(3, 1, 8, 8))}
    images["image"] = images["image"].astype(np.float32)
    assert (runner.inputs, runner.outputs, runner.runtime) == (
        tiny().inputs, tiny().outputs, "Core ML of macOS 15.0"
    )  # fmt: skip
    np.testing.assert_allclose(runner.run(images)["output"], of_model(tiny())(images)["output"], atol=1e-5)
    with pytest.raises(ParingError, match="shape"):
        runner.run({"image": images["image"][:, :, :4]})


def test_what_core_ml_refuses_is_told(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StandIn, "__proxy__", None)
    monkeypatch.setattr(StandIn, "_framework_error", RuntimeError("unable to compile\nmore"))
    with pytest.raises(ParingError, match=r"Core ML refuses it: unable to compile\n"):
        CoreML().open(package)


@pytest.mark.parametrize("content", [None, b"", b"not a model at all"])
def test_what_is_no_package_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "m.mlpackage"
    if content is not None:
        (path / "Data/com.apple.CoreML").mkdir(parents=True)
        (path / "Data/com.apple.CoreML/model.mlmodel").write_bytes(content)
    for look in (CoreML().open, CoreML().describe):
        with pytest.raises(ParingError, match="cannot be read as a Core ML package") as caught:
            look(path)
        assert str(path) in caught.value.where
