"""The working form: an ordinary torch module with what the rest of the way must know of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn

Json = Any  # what `json.dumps` writes: None, bool, int, float, str, and lists and string-keyed dictionaries of these


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output of a model.

    Attributes:
        name: as a runner is fed, e.g. `image`.
        shape: sizes; a name stands for a free dimension, e.g. `("batch", 3, 224, 224)`.
        dtype: `float32`, `int64`, ….
        layout: order of the dimensions of an image, `NCHW` or `NHWC`; empty for other tensors.
        range: smallest and largest value that occur, if known.
        free: sizes of free dimensions other than the batch, for export, timing and evaluation, e.g. `{"length": 128}`.
    """

    name: str
    shape: tuple[int | str, ...]
    dtype: str = "float32"
    layout: str = ""
    range: tuple[float, float] | None = None
    free: Mapping[str, int] = field(default_factory=dict, hash=False)

    @classmethod
    def of(cls, name: str, shape: tuple[int, ...], dtype: str = "float32") -> TensorSpec:
        """An input whose sample has that shape; three sizes of floats are an image, channels first."""
        image = len(shape) == 3 and dtype == "float32"
        return cls(name, ("batch", *shape), dtype, "NCHW" if image else "")

    def sized(self, batch: int) -> tuple[int, ...]:
        """The shape with `free`'s sizes, and every other free dimension set to `batch`."""
        return tuple(self.free.get(size, batch) if isinstance(size, str) else size for size in self.shape)

    def as_json(self) -> dict[str, Json]:
        """Plain data."""
        return {
            "name": self.name,
            "shape": list(self.shape),
            "dtype": self.dtype,
            "layout": self.layout,
            "range": None if self.range is None else list(self.range),
            "free": dict(self.free),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Json]) -> TensorSpec:
        """The inverse of `as_json`."""
        low_high = data["range"]
        return cls(
            name=data["name"],
            shape=tuple(data["shape"]),
            dtype=data["dtype"],
            layout=data["layout"],
            range=None if low_high is None else (low_high[0], low_high[1]),
            free=data.get("free", {}),
        )


@dataclass(frozen=True, slots=True)
class Source:
    """What built the module: a front door's entry and its arguments.

    Attributes:
        entry: `zoo:mobilenet_v2`, `torch:package.module:factory`, `keras:model.keras`.
        arguments: keyword arguments of the factory, JSON values.
        blueprint: the structure as data, where a saved model is to need neither the file that it came from nor the
            library that read it; None where entry and arguments say it all.
    """

    entry: str
    arguments: Mapping[str, Json] = field(default_factory=dict)
    blueprint: Json = field(default=None, repr=False)

    def __str__(self) -> str:
        inside = ", ".join(f"{key}={value!r}" for key, value in self.arguments.items())
        return f"{self.entry}({inside})" if inside else self.entry


@dataclass(frozen=True, slots=True)
class Edit:
    """A change of structure, replayed on the module that the source builds when a saved model is loaded.

    Attributes:
        name: key in the table of edits (`paring.load.saved.EDITS`).
        data: JSON values that the replay needs; weights are not among them.
    """

    name: str
    data: Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class Invariant:
    """What a step won and later steps must keep.

    Attributes:
        kind: key in the table of invariants (`paring.steps.INVARIANTS`), e.g. `scale`.
        layer: the module or tensor it speaks of.
        value: JSON values that must still hold.
    """

    kind: str
    layer: str
    value: Json


@dataclass(frozen=True, slots=True)
class Skipped:
    """A layer that a step left as it was, and why."""

    layer: str
    reason: str


@dataclass(frozen=True, slots=True)
class Event:
    """One step in a model's history.

    Attributes:
        step: `quantize.static`.
        config: the step's options, resolved, JSON values.
        changed: one line on what it did, for people.
        skipped: what it could not do.
    """

    step: str
    config: Mapping[str, Json]
    changed: str
    skipped: tuple[Skipped, ...] = ()


@dataclass(frozen=True)
class Model:
    """A network in its working form.

    Attributes:
        module: an ordinary `torch.nn.Module` of ordinary layers, in eval mode. Steps never edit it: they copy.
        source: what built it.
        inputs: in the order of `forward`'s positional arguments.
        outputs: in the order of what `forward` returns.
        edits: structural changes since `source`, in order.
        invariants: what later steps and exports must keep.
        history: the steps applied so far.
    """

    module: nn.Module
    source: Source
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    edits: tuple[Edit, ...] = ()
    invariants: tuple[Invariant, ...] = ()
    history: tuple[Event, ...] = ()

    def __call__(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """One forward pass without gradients. Tensors by name, batch first."""
        import torch

        with torch.inference_mode():
            answer = self.module(*(inputs[spec.name] for spec in self.inputs))
        answers = answer if isinstance(answer, tuple) else (answer,)
        return {spec.name: tensor for spec, tensor in zip(self.outputs, answers, strict=True)}

    def changed(
        self,
        module: nn.Module,
        event: Event,
        *,
        edits: tuple[Edit, ...] = (),
        invariants: tuple[Invariant, ...] = (),
    ) -> Model:
        """The model that a step makes of this one: `module`, in eval mode, with the event, edits and invariants."""
        return replace(
            self,
            module=module,
            edits=self.edits + edits,
            invariants=self.invariants + invariants,
            history=(*self.history, event),
        )

    def told(self, more: str) -> Model:
        """The model whose last event says more."""
        *before, last = self.history
        return replace(self, history=(*before, replace(last, changed=last.changed + more)))

    @property
    def quantized(self) -> bool:
        """Whether a step has fixed scales that an exported file must carry."""
        return any(invariant.kind == "scale" for invariant in self.invariants)

    @property
    def fixed(self) -> bool:
        """Whether its weights are numbers of few bits already, with `scale`s or as `codes`, and may not change."""
        return any(invariant.kind in {"scale", "codes"} for invariant in self.invariants)
