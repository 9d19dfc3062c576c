"""A result record: a number that carries its unit, its conditions and its origin."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from math import isfinite
from typing import Any


class Origin(StrEnum):
    """How a number came about."""

    MEASURED = "measured"  # run on the device named
    ESTIMATED = "estimated"  # computed from the graph
    PUBLISHED = "published"  # taken from the source named


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One number of one stage.

    Attributes:
        stage: `baseline`, `01-quantize.static`, …, `artifact:litert`.
        metric: `accuracy`, `latency`, `size`, ….
        value: in `unit`.
        unit: `%`, `ms`, `bytes`, `dB`, `1` for a count or a ratio; never empty.
        spread: half the width of the 95 % interval of a share (accuracy, agreement), half the interquartile range
            of a timing or of a ratio of timings; same unit; None where one sample tells all.
        samples: how many observations the value rests on.
        device: what it was measured on, runtime and threads included.
        origin: measured, estimated or published.
        source: the function, command or reference that gives it again.
    """

    stage: str
    metric: str
    value: float
    unit: str
    spread: float | None = None
    samples: int = 1
    device: str
    origin: Origin = Origin.MEASURED
    source: str

    def __post_init__(self) -> None:
        if not self.unit:
            raise ValueError(f"{self.metric} of {self.stage} has no unit")
        if self.samples < 1:
            raise ValueError(f"{self.metric} of {self.stage} rests on {self.samples} samples")
        if not isfinite(self.value):
            raise ValueError(f"{self.metric} of {self.stage} is {self.value}")

    def at(self, stage: str) -> "Record":
        """The same number under another stage."""
        return replace(self, stage=stage)

    def as_json(self) -> dict[str, Any]:
        """Plain data, keys as in `report.json`."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Record":
        """The inverse of `as_json`."""
        return cls(**{**data, "origin": Origin(data["origin"])})
