"""The accuracy floor: one remedy after another, from cheap to dear, until the loss is small enough.

The recipe as it stands, other calibration methods, repairs, the worst layers back in float, training: each rung is
judged on the validation split. The first that holds is kept, else the best.
"""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import Field

from paring.core import atomic
from paring.core.errors import ParingError
from paring.core.model import Json, Model
from paring.core.step import Context, StepConfig

STATE = "ladder.json"


class LadderConfig(StepConfig):
    """How far to climb.

    Attributes:
        minutes: no rung is begun after these.
        training: whether the last rung, quantization-aware training, may be climbed.
    """

    minutes: float = Field(default=30.0, gt=0)
    training: bool = True


@dataclass(frozen=True, slots=True)
class Rung:
    """One thing to try: its name, and how the model is made."""

    name: str
    make: Callable[[], Model]


@dataclass
class Climb:
    """What the rungs gave.

    Attributes:
        drop: the most that may be lost, percentage points of validation accuracy.
        found: rung -> what it lost, in points; rungs of an earlier, interrupted climb among them.
        best: name of the rung that lost least.
        ended: why no further rung was tried; empty where one holds.
    """

    drop: float
    found: dict[str, float] = field(default_factory=dict)
    best: str = ""
    ended: str = ""

    @property
    def holds(self) -> bool:
        """Whether a rung keeps to the limit."""
        return bool(self.best) and self.found[self.best] <= self.drop

    def __str__(self) -> str:
        told = ", ".join(f"{name} {-lost:+.2f} pt" for name, lost in self.found.items())
        verdict = f"{self.best} holds" if self.holds else f"none holds, {self.best} is the best"
        return f"validation accuracy: {told}; {verdict} (limit {self.drop:g} pt)" + (
            f"; {self.ended}" if self.ended else ""
        )


def climb(
    rungs: Callable[[Climb], Iterator[Rung]], config: LadderConfig, drop: float, context: Context
) -> tuple[Model, Climb]:
    """The model of the first rung that holds, or else of the best.

    What a rung lost is written down when it is known: after a kill the same climb goes on behind it.

    Args:
        rungs: from cheap to dear, given what was reached; asked for one by one, so that a later one may build on it.
        config: how far.
        drop: the most that may be lost against `context.original`, percentage points of validation accuracy.
        context: of the step.

    Raises:
        ParingError: there is no validation split to judge by, or no rung could be made at all.
    """
    from paring.train.evaluate import Judge

    judge = Judge(context.original, context.task)
    state = context.directory / STATE
    known = _read(state)
    reached, kept, failed = Climb(drop), dict[str, Model](), list[ParingError]()
    makers: dict[str, Callable[[], Model]] = {}
    start = time.monotonic()
    for rung in rungs(reached):
        if reached.found and time.monotonic() - start > 60 * config.minutes:
            reached.ended = f"stopped after {config.minutes:g} minutes"
            break
        context.progress.note(f"ladder: {rung.name} …")
        makers[rung.name] = rung.make
        if rung.name not in known:
            try:
                model = rung.make()
            except ParingError as error:
                failed.append(error)
                reached.ended = f"{rung.name} could not be tried ({error.problem})"
                continue
            known[rung.name] = judge.drop(model)
            _write(known, state)
            kept = {**({reached.best: kept[reached.best]} if reached.best in kept else {}), rung.name: model}
        reached.found[rung.name] = known[rung.name]
        reached.best = min(reached.found, key=lambda name: reached.found[name])
        context.progress.note(f"ladder: {rung.name} {-reached.found[rung.name]:+.2f} pt of validation accuracy")
        if reached.holds:
            break
    if not reached.best:
        raise failed[0]
    if reached.best not in kept:  # judged by an earlier process
        kept[reached.best] = makers[reached.best]()
    return kept[reached.best], reached


def _read(state: Path) -> dict[str, float]:
    try:
        found: Json = json.loads(state.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return {str(name): float(value) for name, value in found.items()} if isinstance(found, dict) else {}


def _write(known: dict[str, float], state: Path) -> None:
    state.parent.mkdir(parents=True, exist_ok=True)
    with atomic.write(state) as temporary:
        temporary.write_text(json.dumps(known), encoding="utf-8")
