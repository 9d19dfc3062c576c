"""Files are measured while a step looks for one that is cheap enough."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from paring import deployment
from paring.core.errors import ParingError
from paring.core.record import Record
from paring.core.timing import Timing
from paring.deployment import Deployment
from paring.reaching import Place
from paring.targets.ethosu import EthosU
from paring.targets.litert import LiteRT
from paring.testing.models import quantized, tiny


class Slowing(LiteRT):
    """A runtime whose files take a ms for each 10 kB, on a machine that is half as fast each time."""

    def __init__(self) -> None:
        self.pace, self.asked = 1.0, list[list[str]]()

    def open(self, artifact: Path, threads: int = 1) -> Any:
        """A runner that knows its file alone."""
        return artifact

    def taken(self, files: Mapping[str, Path], **options: Any) -> dict[str, Timing]:
        """As `interleaved`."""
        self.asked.append(list(files))
        taken = {name: self.pace * file.stat().st_size / 1e4 for name, file in files.items()}
        self.pace *= 2
        return {name: Timing(value, 0.0, value / next(iter(taken.values())), 0.0, 1) for name, value in taken.items()}


class Board(Place):
    """The same as a device."""

    def __init__(self, target: Slowing) -> None:
        self.__dict__["target"] = target

    def bench(self, files: Mapping[str, Path], **options: Any) -> list[Record]:
        """Records of memory, which do not count here, and of latency."""
        return [
            Record(stage=name, metric=metric, value=value, unit="ms", device="board", source="test")
            for name, timing in self.__dict__["target"].taken(files).items()
            for metric, value in {"peak_memory": 7.0, "latency": timing.median}.items()
        ]


@pytest.mark.parametrize("remote", [False, True])
def test_what_slows_the_machine_meanwhile_does_not_count(
    remote: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    target = Slowing()
    monkeypatch.setattr(deployment, "interleaved", target.taken)
    measure = Deployment(target, 1, Board(target) if remote else None, tmp_path / "deployed")
    before, other = measure(tiny()), measure(quantized())
    assert other.size_bytes != before.size_bytes
    for one in (before, other):
        assert one.latency_ms == pytest.approx(one.size_bytes / 1e4)
    assert [len(names) for names in target.asked] == [1, 2]
    assert len(list((tmp_path / "deployed").iterdir())) == 1  # the first file alone is kept


def test_it_measures_in_the_runtime(tmp_path: Path) -> None:
    measure = Deployment(LiteRT(), 1, None, tmp_path)
    assert min(measure(tiny()).latency_ms, measure(quantized()).latency_ms) > 0


def test_a_target_that_cannot_be_timed_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(ParingError, match="which this machine has not"):
        Deployment(EthosU(), 1, None, tmp_path / "deployed")(quantized())
    assert not (tmp_path / "deployed").exists()
