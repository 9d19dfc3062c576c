"""ONNX Runtime's runner takes files of other makers too."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from paring.core.errors import ParingError
from paring.core.target import one_sample
from paring.targets.onnxruntime import ONNXRuntime
from paring.targets.onnxruntime.runner import ONNXRuntimeRunner
from paring.testing.models import tiny


def foreign(path: Path, shape: list[int | str], kind: int = TensorProto.FLOAT, operator: str = "Neg") -> Path:
    """A file that applies one operator to its input."""
    graph = helper.make_graph(
        [helper.make_node(operator, ["x"], ["y"])], "g", [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info("y", kind, shape)],
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), path)
    return path


@pytest.mark.parametrize("first", [1, "N"])
def test_a_file_without_our_metadata_runs(tmp_path: Path, first: int | str) -> None:
    runner = ONNXRuntimeRunner(foreign(tmp_path / "m.onnx", [first, 3]))
    (spec,) = runner.inputs
    assert (spec.name, spec.shape, spec.dtype) == ("x", ("batch", 3), "float32")
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert runner.run({"x": x})["y"].tolist() == (-x).tolist()
    with pytest.raises(ParingError, match="shape"):
        runner.run({"x": x[:, :2]})


def test_an_image_is_turned_where_the_file_wants_its_channels_last(tmp_path: Path) -> None:
    runner = ONNXRuntimeRunner(foreign(tmp_path / "m.onnx", ["N", 4, 5, 3]))
    image = np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype(np.float32)
    np.testing.assert_array_equal(runner.run({"x": image})["y"], -image.transpose(0, 2, 3, 1))


def test_other_free_sizes_take_what_comes(tmp_path: Path) -> None:
    runner = ONNXRuntimeRunner(foreign(tmp_path / "m.onnx", ["N", "length"], TensorProto.INT64))
    assert runner.inputs[0].shape == ("batch", "length")
    for length in (2, 5):
        ids = np.arange(2 * length).reshape(2, length)
        assert runner.run({"x": ids})["y"].tolist() == (-ids).tolist()


@pytest.mark.parametrize(
    ("shape", "kind", "operator", "told"),
    [
        ([8, 3], TensorProto.FLOAT, "Neg", "batch"),
        ([], TensorProto.FLOAT, "Neg", "batch"),
        ([1], TensorProto.STRING, "Identity", "string"),
        ([1], TensorProto.FLOAT, "Unheard", "Unheard"),
    ],
)
def test_a_file_that_is_not_fed_sample_by_sample_is_refused(
    tmp_path: Path, shape: list[int | str], kind: int, operator: str, told: str
) -> None:
    path = foreign(tmp_path / "m.onnx", shape, kind, operator)
    with pytest.raises(ParingError, match=told) as caught:
        ONNXRuntimeRunner(path)
    assert str(path) in caught.value.where


def test_what_was_set_is_what_runs(tmp_path: Path) -> None:
    target = ONNXRuntime()
    runner = target.open(target.export(tiny(), tmp_path / "m.onnx"))
    assert isinstance(runner, ONNXRuntimeRunner)
    for seed in range(2):
        sample = one_sample(runner.inputs, seed)
        runner.set(sample)
        runner.invoke()
        taken = runner._taken()["output"]
        np.testing.assert_array_equal(taken, runner.run(sample)["output"])
