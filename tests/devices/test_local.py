"""This machine, in a fresh process."""

from pathlib import Path

import numpy as np
import pytest

from paring.core.errors import ParingError
from paring.devices.reach import Options, Work, open
from paring.targets.litert.runner import LiteRTRunner
from paring.testing.reaches import IMAGES, ReachContract, here


class TestLocal(ReachContract):
    @pytest.fixture
    def address(self) -> str:
        return "local"

    @pytest.fixture
    def artifact(self, files: Path) -> Path:
        return files / "int8.tflite"


def test_onnx_runtime_answers_as_here(files: Path) -> None:
    from paring.targets.onnxruntime.runner import ONNXRuntimeRunner

    with open("local") as reach:
        found = reach.run(Work(files / "int8.onnx", {"image": IMAGES}))
    np.testing.assert_array_equal(found["output"], here(ONNXRuntimeRunner(files / "int8.onnx")))


def test_openvino_answers_from_a_folder(tmp_path: Path) -> None:
    from paring.targets.openvino.library import openvino, opset

    artifact = tmp_path / "m.openvino"
    given = opset.parameter(openvino.PartialShape([-1, 3]), np.float32, "x")
    given.output(0).set_names({"x"})
    answer = opset.multiply(given, np.float32([1, 2, 3]))
    answer.output(0).set_names({"y"})
    openvino.save_model(openvino.Model([answer], [given]), artifact / "model.xml", compress_to_fp16=False)
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    with open("local") as reach:
        found = reach.run(Work(artifact, {"x": x}))
    assert found["y"].tolist() == (x * [1, 2, 3]).tolist()


def test_a_way_that_is_not_there_is_named() -> None:
    with pytest.raises(ParingError, match="telnet"):
        open("telnet://there")
    with pytest.raises(ParingError, match="takes nothing behind it"):
        open("local:3")
    with pytest.raises(ParingError, match="--identity is of ssh alone"):
        open("local", Options(identity=Path("key")))


@pytest.mark.slow  # importing ExecuTorch takes longer than all other tests here
def test_executorch_answers_as_litert(files: Path) -> None:
    with open("local") as reach:
        found = reach.run(Work(files / "float.pte", {"image": IMAGES}))
    np.testing.assert_allclose(found["0"], here(LiteRTRunner(files / "float.tflite")), atol=1e-4)
