"""What models would cost as files of a target, measured while a step looks for one that is cheap enough."""

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp

from paring.core import artifact
from paring.core.errors import ParingError
from paring.core.model import Model
from paring.core.step import Deployed
from paring.core.target import Target, why_not_timed
from paring.measure.latency import interleaved
from paring.reaching import Place

SECONDS = 2.0  # for the files of one measurement together


class Deployment:
    """Exports models and measures the files, each in turn with the first one's.

    What slows the machine between two measurements slows both files of one: a latency is the first one's times the
    ratio that was found.

    Args:
        target: that runs here, or on the device.
        threads: that it may use.
        place: a device; None for this machine.
        folder: for the first file, as long as there is more to measure.
    """

    def __init__(self, target: Target, threads: int, place: Place | None, folder: Path) -> None:
        self._target, self._threads, self._place, self._folder = target, threads, place, folder
        self._first: tuple[Path, float] | None = None

    def __call__(self, model: Model) -> Deployed:
        """What the file of a model costs.

        Raises:
            ParingError: the target cannot be timed here, or cannot hold the model; the device cannot be reached.
        """
        if (reason := why_not_timed(self._target)) is not None:
            raise ParingError(
                f"the step measures on {self._target.name}, and {reason}",
                self._target.name,
                "name a target first that can be timed here",
            )
        if self._first is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            file = self._exported(model, Path(mkdtemp(dir=self._folder)))
            _, alone = self._measured({"first": file})
            self._first = file, alone
            return Deployed(alone, artifact.size(file))
        first, alone = self._first
        with TemporaryDirectory(dir=self._folder) as folder:
            file = self._exported(model, Path(folder))
            ratio, _ = self._measured({"first": first, "this": file})
            return Deployed(alone * ratio, artifact.size(file))

    def _exported(self, model: Model, folder: Path) -> Path:
        return self._target.export(model, folder / f"model{self._target.suffix}")

    def _measured(self, files: Mapping[str, Path]) -> tuple[float, float]:
        """Of the last file the ratio to the first, and its latency in ms."""
        if self._place is None:
            runners = {name: self._target.open(file, self._threads) for name, file in files.items()}
            last = list(interleaved(runners, seconds=SECONDS).values())[-1]
            return last.ratio, last.median
        there = self._place.bench(files, threads=self._threads, seconds=SECONDS)
        taken = {one.stage: one.value for one in there if one.metric == "latency"}
        *_, last_name = files
        return taken[last_name] / taken["first"], taken[last_name]
