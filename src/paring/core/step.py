"""A step is a function from a model to a new model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

from pydantic import BaseModel, ConfigDict, model_validator

from paring.core.model import Model
from paring.core.progress import Silent
from paring.core.target import Limits, Runner
from paring.core.task import Task


class Phase(IntEnum):
    """Where in a recipe a step may stand. Phases never go back; `RECOVERY` may stand after any but the last."""

    RECOVERY = 0
    STRUCTURE = 1
    SPARSITY = 2
    QUANTIZATION = 3


class StepConfig(BaseModel):
    """Options of a step: frozen, unknown keys refused, units in the docstrings of the fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @property
    def measures(self) -> bool:
        """Whether the step measures its results on the target, so that they depend on it."""
        return False

    @property
    def named(self) -> tuple[Named, ...]:
        """Models that the step reads besides the one it is given, so that its results depend on them."""
        found: list[Named] = []
        for name in type(self).model_fields:
            value = getattr(self, name)
            for one in value if isinstance(value, tuple) else (value,):
                found += one.named if isinstance(one, StepConfig) else ()
        return tuple(found)


class Named(StepConfig):
    """A model by its name. In a recipe: the name alone, or `{model: …, weights: …}`.

    Attributes:
        model: as a recipe names one (`zoo:…`, `hf:…`, a model saved by paring), or an exported file (`model.tflite`).
        weights: a safetensors file or a checkpoint of plain weights, where the name brings none.
    """

    model: str
    weights: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _alone(cls, data: Any) -> Any:
        return {"model": data} if isinstance(data, str) else data

    @property
    def named(self) -> tuple[Named, ...]:
        """Itself, but for the model that every step is given anyway."""
        return () if self == ORIGINAL else (self,)

    def __str__(self) -> str:
        return self.model


ORIGINAL = Named(model="original")
"""The model that the recipe began with."""


class Progress(Protocol):
    """Shows how far long work has come."""

    def bar(self, label: str, total: int) -> AbstractContextManager[Callable[[int, str], None]]:
        """A bar of `total` units; call what it yields with (units done since the last call, a word on the state)."""

    def note(self, text: str) -> None:
        """One line for the user."""


@dataclass(frozen=True, slots=True)
class Deployed:
    """What a model costs as a file of a target.

    Attributes:
        latency_ms: median of one inference, ms.
        size_bytes: of the file.
    """

    latency_ms: float
    size_bytes: int


@dataclass(frozen=True)
class Context:
    """What a step is given besides the model and its options.

    Attributes:
        task: data, loss and metrics.
        limits: what every target of the recipe can execute.
        seed: of all chance in the step.
        original: the model that the recipe began with (a teacher for recovery).
        directory: the step's own folder, kept between a kill and the next run, for state to go on from.
        progress: shows how far long work has come.
        accuracy_drop: the most that the recipe lets accuracy fall below the original's, percentage points; None where
            it does not say.
        deployed: exports a model to the first target and measures the file there; None where there is no target.
        opened: gives the model of a name, or runs the file of one; None where names mean nothing.
    """

    task: Task
    limits: Limits
    seed: int
    original: Model
    directory: Path
    progress: Progress = field(default_factory=Silent)
    accuracy_drop: float | None = None
    deployed: Callable[[Model], Deployed] | None = None
    opened: Callable[[Named], Model | Runner] | None = None


class Step(Protocol):
    """One technique.

    Attributes:
        name: as in a recipe, `family.method`.
        phase: its place in the order.
        Config: its options.
    """

    name: ClassVar[str]
    phase: ClassVar[Phase]
    Config: ClassVar[type[StepConfig]]

    def apply(self, model: Model, config: Any, context: Context) -> Model:
        """A new model; `model` is untouched. What could not be done is in the last event of its history."""


@runtime_checkable
class ActsOn(Protocol):
    """What a step may offer besides: to say beforehand which layers it would act on."""

    def acts_on(self, model: Model) -> Mapping[str, str | None]:
        """Layer -> None where the step acts on it with its default options, else why not.

        Only layers that the technique could be thought to act on; raises ParingError where the model as a whole cannot
        be had.
        """
