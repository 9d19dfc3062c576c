"""arm64 under emulation: outputs are those of x86 bit for bit, times are marked."""

from pathlib import Path

import numpy as np
import pytest

import paring
from paring import reaching
from paring.core.errors import ParingError
from paring.devices import arm64
from paring.devices.reach import open
from paring.testing.reaches import IMAGES


def test_without_its_files_it_says_how_to_get_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(ParingError, match="not set up") as caught:
        open("emulated-arm64")
    assert caught.value.remedy == "paring prepare emulated-arm64"
    assert not list(tmp_path.iterdir())


def test_a_download_that_fails_leaves_nothing_half_made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ParingError, match="no apt-get here"):
        arm64.prepare()
    assert arm64.find() is None
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.slow
class TestPrepared:
    @pytest.fixture(autouse=True)
    def made(self) -> None:
        arm64.prepare()

    @pytest.mark.parametrize("kernels", ["", "reference"])
    def test_int8_answers_are_those_of_this_machine(self, files: Path, kernels: str) -> None:
        here, there = (
            reaching.answers(files / "int8.tflite", {"image": IMAGES}, address, kernels=kernels)["output"]
            for address in ("local", "emulated-arm64")
        )
        np.testing.assert_array_equal(there, here)

    def test_its_figures_are_never_taken_for_a_devices(self, files: Path) -> None:
        records = paring.bench([files / "int8.tflite", files / "float.tflite"], seconds=0.1, on="emulated-arm64")
        assert {record.metric for record in records} == {
            "latency_emulated", "latency_emulated_ratio", "peak_memory_emulated", "size", "zipped_size",
        }  # fmt: skip
        assert all("emulated" in record.device for record in records if record.unit == "ms")

    def test_nothing_is_made_twice(self) -> None:
        assert arm64.prepare() == arm64.find()
