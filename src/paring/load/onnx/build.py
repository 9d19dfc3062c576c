"""What a builder of the tables is given: the operator with its values, and the means to add nodes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from paring.core.model import Json
from paring.load.onnx.draft import BATCHES, Cannot, Draft, Value


@dataclass
class Operator:
    """One operator of the graph.

    Attributes:
        name: of the node.
        kind: `Conv`, ….
        opset: version of the operators.
        inputs: values; None for one left out.
        attributes: numbers, strings, tensors, lists of them.
        outputs: for each output whether anything uses it.
        draft: where nodes are added.
        batch: the number of samples that the file is made for; None where it is free.
        weight_names: name of each input that is a weight in the file, else empty.
    """

    name: str
    kind: str
    opset: int
    inputs: Sequence[Value | None]
    attributes: Mapping[str, Any]
    outputs: Sequence[bool]
    draft: Draft
    batch: int | None
    weight_names: Sequence[str] = field(default=())

    def __getitem__(self, index: int) -> Value:
        """An input that must be there."""
        found = self.get(index)
        if found is None:
            raise Cannot(f"lacks its input {index}")
        return found

    def get(self, index: int) -> Value | None:
        """An input, or None where it is left out."""
        return self.inputs[index] if index < len(self.inputs) else None

    def given(self) -> list[Value]:
        """The inputs that are there."""
        return [value for value in self.inputs if value is not None]

    def attribute(self, name: str, default: Any = None) -> Any:
        """An attribute, or its default."""
        return self.attributes.get(name, default)

    def constant(self, index: int, what: str) -> Tensor | None:
        """The numbers of an input; None where it is left out.

        Raises:
            Cannot: they are not known before the network runs.
        """
        value = self.get(index)
        if value is None:
            return None
        found = value.constant
        if found is None:
            raise Cannot(f"its {what} is not a constant")
        return found

    def needed(self, index: int, what: str) -> Tensor:
        """Likewise, of an input that must be there."""
        found = self.constant(index, what)
        if found is None:
            raise Cannot(f"lacks its {what}")
        return found

    def integers(self, attribute: str, index: int) -> list[int] | None:
        """Whole numbers that older operators have as an attribute, newer ones as an input; None where left out."""
        if attribute in self.attributes:
            found = self.attributes[attribute]
            return [int(one) for one in (found if isinstance(found, Sequence) else [found])]
        tensor = self.constant(index, attribute)
        return None if tensor is None else [int(one) for one in tensor.flatten()]

    def dims(self, wanted: Sequence[int], rank: int | None = None) -> list[int]:
        """Dimensions counted from the front."""
        rank = self[0].rank if rank is None else rank
        return [one % rank if rank else one for one in wanted]

    def beside_batch(self, wanted: int) -> int:
        """A dimension of the first input, counted from the front.

        Raises:
            Cannot: it is the batch, over which samples would mix.
        """
        dim = self.dims([wanted])[0]
        if dim in self[0].grows and not self[0].known:
            raise Cannot("it works over the samples of a batch", "export the model with a free batch dimension")
        return dim

    def emit(self, op: str, *inputs: Value | None, **options: Json) -> Value:
        """A node without weights, of one value."""
        return self.draft.emit(self.name or self.kind, op, inputs, options)[0]

    def several(self, op: str, *inputs: Value | None, **options: Json) -> list[Value]:
        """A node without weights, of several values."""
        return self.draft.emit(self.name or self.kind, op, inputs, options)

    def layer(self, op: str, *inputs: Value | None, tensors: Mapping[str, Tensor], **options: Json) -> Value:
        """A layer with weights, named as its weight is."""
        return self.draft.emit(self._layer_name(), op, inputs, options, tensors)[0]

    def layers(self, op: str, *inputs: Value | None, tensors: Mapping[str, Tensor], **options: Json) -> list[Value]:
        """Likewise, of several values."""
        return self.draft.emit(self._layer_name(), op, inputs, options, tensors)

    def _layer_name(self) -> str:
        for name in self.weight_names:
            stem, _, last = name.rpartition(".")
            if stem and last in ("weight", "bias", "running_mean"):
                return stem
        return self.name or self.kind

    def both(self, function: Callable[[Sequence[Tensor], int], Tensor], *inputs: Value) -> Value:
        """A known value computed at each batch size."""
        return Value(tuple(function([v.at[i] for v in inputs], i) for i in range(len(BATCHES))), known=True)

    def scalar(self, value: Value, beside: Value) -> float | int | None:
        """A finite number that an option can hold, in arithmetic with `beside`."""
        tensor = value.constant
        if tensor is None or tensor.numel() != 1 or tensor.ndim > beside.rank or tensor.dtype is torch.bool:
            return None
        found: float | int = tensor.item()
        return found if math.isfinite(found) else None

    def permute(self, x: Value, dims: Sequence[int]) -> Value:
        """Reorders dimensions; two in a row become one, and none where they undo each other."""
        while (made := self.draft.made.get(x.reference or "")) and made[0].op == "permute" and made[1][0]:
            dims = [made[0].options["dims"][dim] for dim in dims]
            x = made[1][0]
        if list(dims) == list(range(x.rank)):
            return x
        return self.emit("permute", x, dims=list(dims))

    def reshape(self, x: Value, shapes: Sequence[Sequence[int]]) -> Value:
        """To a shape for each batch size; several in a row become one."""
        while (made := self.draft.made.get(x.reference or "")) and made[0].op in _RESHAPES and made[1][0]:
            x = made[1][0]
        first, second = (list(shape) for shape in shapes)
        made = self.draft.made.get(x.reference or "")
        if made and made[0].op == "permute" and made[1][0] and 1 < len(first) < x.rank:
            # what only joins the last dimensions goes before a permutation that leaves them where they are
            kept, dims = len(first) - 1, made[0].options["dims"]
            if dims[kept:] == list(range(kept, x.rank)) and all(
                tuple(s[:kept]) == o[:kept] for s, o in zip(shapes, x.shapes, strict=True)
            ):
                source = made[1][0]
                joined = self.reshape(source, [(*s[:kept], math.prod(s[kept:])) for s in source.shapes])
                return self.permute(joined, [*dims[:kept], kept])
        if x.shapes == [tuple(first), tuple(second)]:
            return x
        grows = [dim for dim, (a, b) in enumerate(zip(first, second, strict=True)) if a != b]
        if len(grows) > 1:
            raise Cannot("it spreads the batch over several dimensions")
        if (
            not x.known
            and grows == [0]
            and (first[0], second[0]) == BATCHES
            and 0 in x.grows
            and x.shape[0] == first[0]
        ):
            if len(first) == 2 and x.rank > 2:
                return self.emit("flatten", x, start_dim=1)
            return self.emit("reshape", x, shape=first[1:])
        if grows:
            first[grows[0]] = -1
        return self.emit("reshape_any", x, shape=first)

    def constant_value(self, tensor: Tensor | float, dtype: torch.dtype = torch.float32) -> Value:
        """A constant."""
        return Value.of(tensor if isinstance(tensor, Tensor) else torch.tensor(tensor, dtype=dtype))


_RESHAPES = ("reshape", "reshape_any", "flatten")
Builder = Callable[[Operator], Value | Sequence[Value | None]]
