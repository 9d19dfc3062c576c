"""What every way to reach a device must keep. Subclass `ReachContract` in the tests of a way and give `opened`."""

import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from paring.core.errors import ParingError
from paring.core.target import Array
from paring.devices.reach import Options, Work, open
from paring.devices.session import Session
from paring.targets.feeding import OneSampleRunner
from paring.targets.litert.runner import LiteRTRunner
from paring.testing.sshd import wrapper

IMAGES = np.random.default_rng(0).normal(size=(3, 1, 8, 8)).astype(np.float32)


class ReachContract:
    """A device answers as this machine does, measures, says what it lacks, and is left as it was."""

    @pytest.fixture
    def address(self) -> str:
        """Of the device: this machine, by the way under test."""
        raise NotImplementedError

    @pytest.fixture
    def options(self) -> Options:
        """How to reach it."""
        return Options()

    @pytest.fixture
    def artifact(self) -> Path:
        """A quantized `.tflite` of the tiny network."""
        raise NotImplementedError

    @pytest.fixture
    def work(self, artifact: Path) -> Work:
        """The file and three images."""
        return Work(artifact, {"image": IMAGES})

    @pytest.fixture(autouse=True)
    def place(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """Where the device keeps temporary files; nothing is there before and after."""
        place = tmp_path / "device"
        place.mkdir()
        monkeypatch.setenv("TMPDIR", str(place))
        monkeypatch.setattr(tempfile, "tempdir", None)
        return place

    @pytest.fixture
    def python(self, options: Options, tmp_path: Path, place: Path) -> Options:
        """Options with a Python on the device that keeps its temporary files in `place`."""
        return replace(options, python=wrapper(tmp_path / "python", before=f"export TMPDIR={place}"))

    def test_answers_are_those_of_this_machine_bit_for_bit(
        self, address: str, python: Options, work: Work, place: Path
    ) -> None:
        with open(address, python) as reach:
            found = reach.run(work)
            assert len(list(place.glob("paring-*"))) == 1
        assert not list(place.iterdir())
        wanted = here(LiteRTRunner(work.artifact))
        assert found["output"].dtype == wanted.dtype
        np.testing.assert_array_equal(found["output"], wanted)

    def test_files_are_measured_in_turn(self, address: str, python: Options, work: Work, place: Path) -> None:
        with open(address, python) as reach:
            found = reach.bench({"a": work, "b": work}, threads=1, seconds=0.05)
        assert list(found) == ["a", "b"]
        assert found["a"].timing.ratio == 1.0
        assert found["b"].timing.median > 0
        assert found["b"].peak is not None
        assert found["b"].peak > 10e6
        assert "LiteRT" in found["a"].device
        assert found["a"].device.endswith("1 thread")
        assert not list(place.iterdir())

    def test_a_damaged_file_is_named(
        self, address: str, python: Options, work: Work, place: Path, tmp_path: Path
    ) -> None:
        damaged = tmp_path / "damaged.tflite"
        damaged.write_bytes(work.artifact.read_bytes()[:200])
        with pytest.raises(ParingError) as caught, open(address, python) as reach:
            reach.run(replace(work, artifact=damaged))
        assert str(damaged) in caught.value.where
        assert not list(place.iterdir())

    def test_a_measurement_that_is_interrupted_ends_and_leaves_nothing(
        self, address: str, python: Options, work: Work, place: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ask, answer = Session._ask, Session._answer

        def asked(session: Session, message: dict[str, Any]) -> dict[str, Any]:
            if message["do"] == "work":
                monkeypatch.setattr(Session, "_answer", interrupted)
            return ask(session, message)

        def interrupted(_: Session) -> dict[str, Any]:
            until(lambda: bool(list(place.glob("*/*.job"))))
            monkeypatch.setattr(Session, "_answer", answer)
            raise KeyboardInterrupt

        monkeypatch.setattr(Session, "_ask", asked)
        with pytest.raises(KeyboardInterrupt), open(address, python) as reach:
            reach.bench({"a": work}, seconds=1000.0)
        until(lambda: not list(place.iterdir()))

    def test_what_the_device_lacks_is_named(
        self, address: str, options: Options, work: Work, place: Path, tmp_path: Path
    ) -> None:
        bare = wrapper(tmp_path / "bare", before=f"export TMPDIR={place}", arguments="-S")  # without installed packages
        with (
            pytest.raises(ParingError, match="no numpy and no ai-edge-litert") as caught,
            open(address, replace(options, python=bare)) as reach,
        ):
            reach.run(work)
        assert "pip install numpy ai-edge-litert" in caught.value.remedy
        assert not list(place.iterdir())

    def test_a_python_that_is_not_there_is_named(self, address: str, options: Options, place: Path) -> None:
        with pytest.raises(ParingError, match="Python could not be started") as caught:
            open(address, replace(options, python="/nowhere/python")).__enter__()
        assert "/nowhere/python" in caught.value.problem
        assert not list(place.iterdir())

    def test_a_full_disk_on_the_device_is_told_and_left_as_it_was(
        self, address: str, options: Options, work: Work, place: Path, tmp_path: Path
    ) -> None:
        # a limit on the size of a file stands in for a full disk: the runner fits, the model does not
        small = wrapper(tmp_path / "small", before=f"export TMPDIR={place}; ulimit -f 128")
        large = tmp_path / "large.tflite"
        large.write_bytes(work.artifact.read_bytes() + bytes(200_000))
        with (
            pytest.raises(ParingError, match="file too large") as caught,
            open(address, replace(options, python=small)) as reach,
        ):
            reach.run(replace(work, artifact=large))
        assert "free space" in caught.value.remedy
        assert not list(place.iterdir())

    def test_a_disk_that_is_too_full_for_the_runner_is_told(
        self, address: str, options: Options, place: Path, tmp_path: Path
    ) -> None:
        full = wrapper(tmp_path / "full", before=f"export TMPDIR={place}; ulimit -f 4")
        with pytest.raises(ParingError, match="file too large"):
            open(address, replace(options, python=full)).__enter__()
        assert not list(place.iterdir())

    def test_a_core_that_is_not_there_is_refused(self, address: str, python: Options, work: Work) -> None:
        with pytest.raises(ParingError, match="no core 4095"), open(address, replace(python, cores=(4095,))) as reach:
            reach.run(work)


def until(met: Callable[[], bool], seconds: float = 20.0) -> None:
    """Waits for something that another process does."""
    end = time.monotonic() + seconds
    while not met():
        assert time.monotonic() < end
        time.sleep(0.05)


def here(runner: OneSampleRunner) -> Array:
    """What a runner of this machine answers to `IMAGES`."""
    return runner.run({"image": IMAGES})["output"]
