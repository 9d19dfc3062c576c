"""OpenVINO's runner takes files of other makers too."""

from pathlib import Path

import numpy as np
import pytest

from paring.core.errors import ParingError
from paring.core.target import one_sample
from paring.targets.openvino import OpenVINO
from paring.targets.openvino.library import openvino, opset
from paring.targets.openvino.runner import OpenVINORunner


def foreign(path: Path, shape: list[int], kind: type = np.float32) -> Path:
    """A graph that negates its input; −1 is a free size."""
    given = opset.parameter(openvino.PartialShape(shape), kind, "x")
    given.output(0).set_names({"x"})
    answer = opset.negative(given)
    answer.output(0).set_names({"y"})
    openvino.save_model(openvino.Model([answer], [given]), path / "model.xml", compress_to_fp16=False)
    return path


@pytest.mark.parametrize("first", [1, -1])
def test_a_file_without_our_metadata_runs(tmp_path: Path, first: int) -> None:
    runner = OpenVINORunner(foreign(tmp_path, [first, 3]))
    (spec,) = runner.inputs
    assert (spec.name, spec.shape, spec.dtype) == ("x", ("batch", 3), "float32")
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert runner.run({"x": x})["y"].tolist() == (-x).tolist()
    with pytest.raises(ParingError, match="shape"):
        runner.run({"x": x[:, :2]})
    held = OpenVINO().describe(tmp_path)
    assert held.operators == {"Negative": 1}


def test_an_image_is_turned_where_the_file_wants_its_channels_last(tmp_path: Path) -> None:
    runner = OpenVINORunner(foreign(tmp_path, [-1, 4, 5, 3]))
    image = np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype(np.float32)
    np.testing.assert_array_equal(runner.run({"x": image})["y"], -image.transpose(0, 2, 3, 1))


def test_other_free_sizes_take_what_comes(tmp_path: Path) -> None:
    runner = OpenVINORunner(foreign(tmp_path, [-1, -1], np.int64))
    assert runner.inputs[0].shape == ("batch", "size_1")
    for length in (2, 5):
        ids = np.arange(2 * length).reshape(2, length)
        assert runner.run({"x": ids})["y"].tolist() == (-ids).tolist()


@pytest.mark.parametrize("shape", [[8, 3], []])
def test_a_file_that_is_not_fed_sample_by_sample_is_refused(tmp_path: Path, shape: list[int]) -> None:
    with pytest.raises(ParingError, match="batch") as caught:
        OpenVINORunner(foreign(tmp_path, shape))
    assert str(tmp_path) in caught.value.where


def test_what_was_set_is_what_runs(tmp_path: Path) -> None:
    runner = OpenVINORunner(foreign(tmp_path, [-1, 3]))
    for seed in range(2):
        sample = one_sample(runner.inputs, seed)
        runner.set(sample)
        runner.invoke()
        np.testing.assert_array_equal(runner._taken()["y"], -sample["x"])


def test_damaged_metadata_is_told(tmp_path: Path) -> None:
    path = foreign(tmp_path, [1, 3])
    text = (path / "model.xml").read_text()
    (path / "model.xml").write_text(text.replace("<rt_info>", '<rt_info><paring value="{" />'))
    with pytest.raises(ParingError, match="damaged"):
        OpenVINORunner(path)
