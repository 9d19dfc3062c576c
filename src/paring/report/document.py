"""What a report says, as data. Every form it takes (terminal, HTML, JSON) is made from this and nothing else."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from math import isfinite
from typing import Any, Literal

from paring.core.model import Json, Skipped
from paring.core.record import Origin, Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One state of the model on its way to the device.

    Attributes:
        name: as in the records: `baseline`, `01-quantize.static`, …, `artifact:litert`.
        title: for people, e.g. `8-bit weights and activations`.
        changed: one line on what the step did.
        config: the options, resolved.
        skipped: layers that were left as they were, each with the reason.
        invariants: kind -> how many of what steps so far won were looked at after this one; all of them hold.
        seconds: time the work took; None if it was not timed.
        cached: whether the stage was taken from an earlier run.
        files: what the stage wrote, relative to the run directory.
    """

    name: str
    title: str
    changed: str = ""
    config: Mapping[str, Json] = field(default_factory=dict)
    skipped: tuple[Skipped, ...] = ()
    invariants: Mapping[str, int] = field(default_factory=dict)
    seconds: float | None = None
    cached: bool = False
    files: tuple[str, ...] = ()

    @property
    def kind(self) -> Literal["load", "step", "export"]:
        """Where on the way the stage stands."""
        if self.name == "baseline":
            return "load"
        return "export" if self.name.startswith("artifact:") else "step"


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    """What the user asked for, and whether the result keeps to it.

    Attributes:
        name: `accuracy_drop`, `latency`, `size`, ….
        limit: the most (of an accuracy: the least) that is allowed, in `unit`.
        unit: of limit, value and shortfall: `ms`, `bytes`, `pt` (percentage points), ….
        value: what the result reaches.
        met: the verdict.
        shortfall: how far the value is beyond the limit; 0 where it is met.
    """

    name: str
    limit: float
    unit: str
    value: float
    met: bool
    shortfall: float = 0.0

    def __post_init__(self) -> None:
        if not all(map(isfinite, (self.limit, self.value, self.shortfall))):
            raise ValueError(f"requirement {self.name} is not a number: {self.value} {self.unit}, limit {self.limit}")

    @property
    def bound(self) -> Literal["at most", "at least"]:
        """On which side of the limit the value must stay; the verdict tells."""
        return "at least" if (self.value > self.limit) == self.met else "at most"


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One run: what was done, what was measured, and what it means.

    Attributes:
        name: of the run.
        created: when, ISO 8601.
        paring: the version that ran it.
        environment: `cpu`, `cores`, `python`, versions of libraries.
        recipe: as resolved.
        stages: in the order they came about: baseline, steps, artifacts.
        records: every number.
        requirements: every budget, with its verdict.
        notes: what a reader must not miss, in plain words.
    """

    name: str
    created: str
    paring: str
    environment: Mapping[str, Json] = field(default_factory=dict)
    recipe: Mapping[str, Json] = field(default_factory=dict)
    stages: tuple[Stage, ...] = ()
    records: tuple[Record, ...] = ()
    requirements: tuple[Requirement, ...] = ()
    notes: tuple[str, ...] = ()

    def find(self, stage: str, metric: str) -> tuple[Record, ...]:
        """The records of one metric of one stage: several where it was measured on several runtimes or devices."""
        return tuple(record for record in self.records if (record.stage, record.metric) == (stage, metric))

    @property
    def result(self) -> Stage | None:
        """What the run ends in: the first artifact, else the last step; None if there is neither."""
        artifacts = [stage for stage in self.stages if stage.kind == "export"]
        steps = [stage for stage in self.stages if stage.kind == "step"]
        return artifacts[0] if artifacts else steps[-1] if steps else None

    def as_json(self) -> dict[str, Any]:
        """Plain data, keys as in `report.json`."""
        return asdict(self)


def is_guess(record: Record) -> bool:
    """Whether a reader could take the number for a measurement that it is not. Counts are read off the graph."""
    return record.origin is not Origin.MEASURED and record.unit != "1"


def on_device(record: Record) -> bool:
    """Whether the number depends on a device; a size or a count is the same on any, and its device is `none`."""
    return record.device != "none"


def is_slower(record: Record) -> bool:
    """Whether a `latency_ratio` says, beyond its spread, that the stage takes longer than the baseline."""
    return record.metric == "latency_ratio" and record.value - (record.spread or 0.0) > 1
