"""What a runtime must offer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from paring.core.model import Model, TensorSpec
from paring.core.record import Record

if TYPE_CHECKING:
    from torch.export import ExportedProgram

Array = NDArray[Any]
Storable = tuple[str, str, int]


@dataclass(frozen=True, slots=True)
class Limits:
    """What a target can execute, as data, so that no step needs to know a target.

    Attributes:
        weights: kinds of weights, e.g. {"float32", "int8"}.
        activations: kinds of activations, likewise.
        per_channel: whether weights may have a scale for each output channel.
        dynamic: what runs with activations quantized at each inference, and then faster than in float: (type of the
            weight, kind of layer, size of the groups of weights along the input axis with a scale of their own, 0 for
            one scale per channel), e.g. ("int8", "linear", 0).
        intensity: multiply–accumulates for each value read and written, below which a convolution is no faster so.
        stored: as `dynamic`, what runs in float with its weight stored in that type.
        slow: what runs, but slower than with wider numbers: (type of the weight, kind of layer, type of the
            activations), e.g. ("int4", "conv", "float32").
        costly_scales: kinds of layers whose scales per channel take memory while the network runs, e.g. {"linear"}.
    """

    weights: frozenset[str]
    activations: frozenset[str]
    per_channel: bool = True
    dynamic: frozenset[Storable] = frozenset()
    intensity: float = 0.0
    stored: frozenset[Storable] = frozenset()
    slow: frozenset[tuple[str, str, str]] = frozenset()
    costly_scales: frozenset[str] = frozenset()

    def __and__(self, other: Limits) -> Limits:
        """What both can execute."""
        return Limits(
            self.weights & other.weights,
            self.activations & other.activations,
            self.per_channel and other.per_channel,
            self.dynamic & other.dynamic,
            max(self.intensity, other.intensity),
            self.stored & other.stored,
            self.slow | other.slow,
            self.costly_scales & other.costly_scales,  # no target's numbers are made coarser for another's sake
        )


Severity = Literal["refuses", "slow", "note"]


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing about a model that matters where it is to run.

    Attributes:
        problem: what.
        where: in the model.
        remedy: what to change; empty for a note that asks for nothing.
        severity: `refuses`: it cannot run; `slow`: it runs, but not as it could; `note`: good to know.
    """

    problem: str
    where: str
    remedy: str
    severity: Severity = "refuses"

    def __str__(self) -> str:
        return f"{self.where}: {self.problem}" + (f" (try: {self.remedy})" if self.remedy else "")


class ExportOptions(BaseModel):
    """How an exported file is fed and answers.

    Attributes:
        io: `float32`, or `int8` with the scales of the file (only for a quantized model).
        layout: order of an image input's dimensions in the file.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    io: Literal["float32", "int8"] = "float32"
    layout: Literal["NCHW", "NHWC"] = "NCHW"


class TargetSpec(BaseModel):
    """A target as a recipe or a device profile names it: by name, with the options of its export that were given."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    options: dict[str, Any] = {}


FLOAT_ENDS = ExportOptions()
"""The default: float32, channels first."""


class Runner(Protocol):
    """An artifact, loaded into its runtime.

    Attributes:
        inputs: what `run` takes: the model's own names, layout and float values, whatever the file itself holds.
        outputs: what `run` gives.
        runtime: name and version, e.g. `LiteRT 2.3.0`.
        threads: that the runtime may use.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    runtime: str
    threads: int

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Answers for a batch of any size; arrays by name, batch first."""

    def set(self, inputs: Mapping[str, Array]) -> None:
        """Puts one sample (a batch of one) into the runtime's own buffers, without running."""

    def invoke(self) -> None:
        """One inference on what was set, and nothing else: what latency measures."""


class Target(Protocol):
    """A runtime that models are exported to.

    Attributes:
        name: as in a recipe.
        suffix: of its artifacts, e.g. `.tflite`, or `.micro.tflite` where `.tflite` is another one's.
        limits: what it can execute.
        Options: of its export; more of them than `ExportOptions` has, where it needs more.
    """

    name: ClassVar[str]
    suffix: ClassVar[str]
    limits: ClassVar[Limits]
    Options: ClassVar[type[ExportOptions]]

    def check(self, model: Model) -> Sequence[Problem]:
        """Every reason the model cannot run here, all at once, before any training; none that refuses if it can.

        What is `slow` tells of layers that the target leaves to a slower processor.
        """

    def export(self, model: Model, path: Path, options: ExportOptions = FLOAT_ENDS) -> Path:
        """Writes one file, or one folder. Same model, same bytes. Raises ParingError if `check` finds problems."""

    def open(self, artifact: Path, threads: int = 1) -> Runner:
        """Loads an exported file into the runtime. Raises ParingError on a file that the runtime refuses."""


@runtime_checkable
class Elsewhere(Protocol):
    """What a target offers besides that is made for devices which this machine may be unable to stand in for."""

    def why_not_run(self) -> str | None:
        """Why this machine cannot run its artifacts, e.g. `Core ML runs on Apple's systems only`; None if it can.

        Where there is a reason, `open` raises ParingError with it.
        """

    def why_not_timed(self) -> str | None:
        """Why time and memory of a run on this machine say nothing of the device; None where they do."""


def why_not_run(target: Target) -> str | None:
    """Why this machine cannot run a target's artifacts; None where it can."""
    return target.why_not_run() if isinstance(target, Elsewhere) else None


def why_not_timed(target: Target) -> str | None:
    """Why this machine cannot time a target's artifacts; None where it can."""
    return why_not_run(target) or (target.why_not_timed() if isinstance(target, Elsewhere) else None)


@runtime_checkable
class Estimates(Protocol):
    """What a target offers besides that can tell what an artifact costs on its device without running it there.

    Attributes:
        judges: which budgets its estimates can judge, of `latency` and `peak_memory`.
    """

    judges: ClassVar[frozenset[str]]

    def estimate(self, artifact: Path, stage: str) -> Sequence[Record]:
        """Records of the artifact, under that stage, with origin `estimated` and the name of the estimator as source.

        Latency is called `latency`, in ms, so that a budget can be judged; the device names what was modelled.
        """


@runtime_checkable
class Accompanies(Protocol):
    """What a target offers besides whose artifacts are built into something, or compiled once more."""

    def accompany(self, artifact: Path) -> Sequence[Path]:
        """Writes beside an artifact what a device takes in its place, e.g. a C array, and names these files."""


@dataclass(frozen=True, slots=True)
class FileTensor:
    """A tensor of an exported file.

    Attributes:
        name: as in the file.
        dtype: as in the file.
        shape: sizes.
        bytes: of its stored values; 0 where it is computed.
        scales: one, or one per channel, where it holds integers that stand for scale × (integer − zero point).
        zero_points: as many.
        zeros: share of its stored values that stand for exactly 0; 0 where it is computed, or packed in an unknown way.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    bytes: int
    scales: tuple[float, ...] = ()
    zero_points: tuple[int, ...] = ()
    zeros: float = 0.0


@dataclass(frozen=True, slots=True)
class Contents:
    """What an exported file holds.

    Attributes:
        operators: how often each occurs, quantize and dequantize among them where the file has them.
        tensors: in the order of the file.
        quantized: of the operators that compute, how often each runs on integers; those at the ends do not count.
        in_float: (operator, its first output) of each operator that computes on floats.
        on_processor: likewise of each that the device's accelerator leaves to its processor.
    """

    operators: Mapping[str, int]
    tensors: tuple[FileTensor, ...]
    quantized: Mapping[str, int] = field(default_factory=dict)
    in_float: tuple[tuple[str, str], ...] = ()
    on_processor: tuple[tuple[str, str], ...] = ()


@runtime_checkable
class Describes(Protocol):
    """What a target may offer besides: to tell what its files hold."""

    def describe(self, artifact: Path) -> Contents:
        """Operators and tensors of a file. Raises ParingError on a file that is none of the target's."""


@runtime_checkable
class Advises(Protocol):
    """What a target may offer besides: to tell what it would run otherwise than it could."""

    def advise(self, model: Model, program: ExportedProgram) -> Sequence[Problem]:
        """Operators outside its delegate, transposes, and the like; of severity `slow` or `note`, none that refuses.

        Args:
            model: that `check` found no problem with.
            program: the model for one sample, as `torch.export` traces it.
        """


@runtime_checkable
class Remarks(Protocol):
    """What a target offers besides whose users should know something of it, whatever their model is.

    Attributes:
        remarks: of severity `note`; reports give their problems as sentences.
    """

    remarks: ClassVar[tuple[Problem, ...]]


@runtime_checkable
class Tailored(Protocol):
    """What a target offers besides whose options decide what it can run."""

    def tailored(self, options: ExportOptions) -> Target:
        """The target, whose `check` judges by these options."""


def tailored(target: Target, options: ExportOptions) -> Target:
    """A target as its options make it; most check alike whatever they are."""
    return target.tailored(options) if isinstance(target, Tailored) else target


def remarks(target: Target) -> tuple[Problem, ...]:
    """What users of a target should know; of most there is nothing to say."""
    return target.remarks if isinstance(target, Remarks) else ()


@runtime_checkable
class References(Protocol):
    """What a target may offer besides: to run a file without what makes it fast, so that a fault can be told."""

    def reference(self, artifact: Path) -> Runner:
        """The file in the runtime's plain kernels. Raises ParingError on a file that the runtime refuses."""


@runtime_checkable
class Traces(Protocol):
    """What a target may offer besides: to tell what each quantized layer gives in the runtime."""

    def trace(self, artifact: Path, model: Model, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Layer -> its output for every sample, as float values, batch first, images channels first.

        Args:
            artifact: exported from `model`.
            model: quantized.
            inputs: by name, as a runner takes them.
        """


def one_sample(inputs: tuple[TensorSpec, ...], seed: int = 0) -> dict[str, Array]:
    """A batch of one, drawn within each input's range: for timing, where values do not matter."""
    chance = np.random.default_rng(seed)
    sample: dict[str, Array] = {}
    for spec in inputs:
        low, high = spec.range or (0.0, 1.0)
        if spec.dtype.startswith("int"):
            sample[spec.name] = chance.integers(int(low), int(high) + 1, spec.sized(1)).astype(spec.dtype)
        else:
            sample[spec.name] = chance.uniform(low, high, spec.sized(1)).astype(spec.dtype)
    return sample
