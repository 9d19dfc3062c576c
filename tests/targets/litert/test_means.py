"""Means over images, taken as they lie."""

from pathlib import Path

import numpy as np
import pytest

from paring.core.target import ExportOptions
from paring.targets.litert import LiteRT, means
from paring.testing.models import quantized


def test_a_mean_over_height_and_width_turns_nothing_and_answers_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ExportOptions(io="int8", layout="NHWC")
    images = {"image": np.random.default_rng(0).normal(size=(20, 1, 8, 8)).astype(np.float32)}
    plain = LiteRT().export(quantized(), tmp_path / "plain.tflite", options)
    monkeypatch.setattr(means, "unturn", lambda model: None)
    turned = LiteRT().export(quantized(), tmp_path / "turned.tflite", options)
    held = [LiteRT().describe(file).operators for file in (plain, turned)]
    assert [(one["MEAN"], one.get("TRANSPOSE", 0)) for one in held] == [(1, 0), (1, 1)]
    answers = [LiteRT().open(file).run(images)["output"] for file in (plain, turned)]
    np.testing.assert_array_equal(*answers)
