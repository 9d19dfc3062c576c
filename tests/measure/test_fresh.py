"""Peak memory and the time to start are those of a fresh process."""

from pathlib import Path

import numpy as np
import pytest

from paring.core.errors import ParingError
from paring.measure import fresh
from paring.targets.litert import LiteRT
from paring.testing.models import tiny

TARGET = "paring.targets.litert:LiteRT"


def test_what_this_process_holds_does_not_count(tmp_path: Path) -> None:
    path = LiteRT().export(tiny(), tmp_path / "m.tflite")
    before = fresh.peak(TARGET, path)
    ballast = np.ones(400 * 2**20, np.uint8)
    after = fresh.peak(TARGET, path)
    assert ballast.sum() == ballast.size
    assert 10 * 2**20 < before < 400 * 2**20
    assert after == pytest.approx(before, rel=0.2)


def test_a_process_that_fails_is_told(tmp_path: Path) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(b"none")
    with pytest.raises(ParingError, match="fresh process could not run it"):
        fresh.peak(TARGET, path)
