"""The recipe: model, data, device, steps, budgets."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from paring.core.model import Json
from paring.core.registry import with_options
from paring.core.target import TargetSpec


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class StepSpec(_Part):
    """One step, by name, with the options that the user gave."""

    name: str
    config: dict[str, Any] = {}


class Require(_Part):
    """Budgets, each a number with its unit: `1.0 pt`, `2 ms`, `400 KiB`."""

    accuracy_drop: str | None = None
    latency: str | None = None
    size: str | None = None
    peak_memory: str | None = None


class Measure(_Part):
    """How to measure.

    Attributes:
        threads: that a runtime may use; the device's number where it is left out.
        stages: measure every stage on the runtime, or only baseline and result (`ends`).
        test_samples: use only the first so many of the test split; all where it is left out.
        serving: also measure of each artifact how long it takes to start, and what threads and batches win.
    """

    threads: int | None = Field(default=None, ge=1)
    stages: Literal["all", "ends"] = "all"
    test_samples: int | None = Field(default=None, ge=1)
    serving: bool = False


class Recipe(_Part):
    """What is to be done to a model.

    Attributes:
        version: of this format.
        model: `zoo:…`, `torch:…`, or a model saved by paring.
        weights: a safetensors file.
        data: `fashion-mnist`, `images:FOLDER`, ….
        device: a profile, or a profile's file.
        targets: runtimes to export to; the device's where they are left out.
        steps: in the order in which they are applied.
        require: budgets.
        measure: how to measure.
        seed: of all chance.
    """

    version: Literal[1]
    model: str
    weights: str | None = None
    data: str
    device: str = "local"
    targets: tuple[TargetSpec, ...] = ()
    steps: tuple[StepSpec, ...] = ()
    require: Require = Require()
    measure: Measure = Measure()
    seed: int = Field(default=0, ge=0, lt=2**32)

    @field_validator("targets", mode="before")
    @classmethod
    def _targets(cls, value: Any) -> Any:
        return with_options(value, "options")

    @field_validator("steps", mode="before")
    @classmethod
    def _steps(cls, value: Any) -> Any:
        return with_options(value, "config")

    def as_json(self) -> dict[str, Json]:
        """Plain data that reads back to the same recipe, defaults included."""
        data: dict[str, Json] = self.model_dump(mode="json")
        data["targets"] = [{spec.name: spec.options} for spec in self.targets]
        data["steps"] = [{spec.name: spec.config} for spec in self.steps]
        return data


@dataclass(frozen=True, slots=True)
class Lines:
    """Where in a file each part of a recipe stands.

    Attributes:
        name: of the file, or `recipe` for one made in Python.
        numbers: path of keys and positions -> line, counted from 1.
    """

    name: str = "recipe"
    numbers: Mapping[tuple[str | int, ...], int] = field(default_factory=dict)

    def of(self, path: tuple[str | int, ...]) -> str:
        """`recipe.yaml, line 7`: the line of `path`, or of the nearest part around it."""
        for end in range(len(path), -1, -1):
            if path[:end] in self.numbers:
                return f"{self.name}, line {self.numbers[path[:end]]}"
        return self.name
