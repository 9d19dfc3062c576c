"""What is answered on a split is kept on disk."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from paring.core.errors import ParingError
from paring.core.progress import Silent
from paring.core.target import Array
from paring.measure.answers import Answers, collect, of_model
from paring.testing.models import TinyTask, tiny


def test_every_sample_is_answered_in_order(tmp_path: Path) -> None:
    found = collect(of_model(tiny()), TinyTask(), "test", tmp_path, Silent(), "x", batch_size=7)
    batch = next(iter(TinyTask().batches("test", 48)))
    np.testing.assert_allclose(found.outputs, tiny()(batch.inputs)["output"], rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(found.targets, batch.targets)
    again = Answers.load(tmp_path)
    np.testing.assert_array_equal(again.outputs, found.outputs)
    assert isinstance(again.outputs, np.memmap)


def test_a_limit_takes_the_first_ones(tmp_path: Path) -> None:
    found = collect(of_model(tiny()), TinyTask(), "test", tmp_path, Silent(), "x", limit=10, batch_size=7)
    assert found.outputs.shape == (10, 10)


def test_an_answer_that_is_no_number_is_named(tmp_path: Path) -> None:
    def answer(inputs: Mapping[str, Array]) -> dict[str, Array]:
        outputs = np.zeros((len(inputs["image"]), 10), np.float32)
        outputs[2, 5] = np.nan
        return {"output": outputs}

    with pytest.raises(ParingError, match="test sample 2 is not a number"):
        collect(answer, TinyTask(), "test", tmp_path, Silent(), "x")


def test_an_empty_split_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TinyTask, "size", lambda self, split: 0)
    with pytest.raises(ParingError, match="test split is empty"):
        collect(of_model(tiny()), TinyTask(), "test", tmp_path, Silent(), "x")
