"""What each operator does to channels: moves them, holds them together, or mixes them so that they have to stay."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from paring.steps.prune.structure.calls import Call, split, tensors
from paring.steps.prune.structure.labels import MIXED, Labels, reduced

_MOVES = {
    "cat", "stack", "constant_pad_nd", "repeat", "roll", "flip", "index_select", "gather", "index", "_unsafe_index",
    "pixel_shuffle", "pixel_unshuffle", "channel_shuffle", "native_channel_shuffle", "im2col", "slice_scatter",
    "select_scatter", "tril", "triu", "index_put", "_index_put_impl", "masked_select",
}  # fmt: skip
_SAME = {"clone", "_to_copy", "copy", "contiguous", "lift_fresh_copy", "native_dropout", "dropout"}
_PIECES = {"slice", "select", "split", "split_with_sizes", "unbind", "unsafe_split"}
_RESHAPES = {"view", "_unsafe_view", "reshape", "_reshape_alias"}
_ALONG = {
    "sum", "mean", "amax", "amin", "max", "min", "argmax", "argmin", "prod", "std", "var", "var_mean", "std_mean",
    "logsumexp", "linalg_vector_norm", "norm", "any", "all", "_softmax", "_log_softmax", "_safe_softmax", "softmax",
    "cumsum", "cumprod", "logcumsumexp", "sort", "topk", "median", "count_nonzero", "nansum", "aminmax",
}  # fmt: skip
_POOLS = {"mean", "sum", "amax", "max"}  # what reduces places of an image
_PRODUCTS = {"mm", "bmm", "matmul", "addmm", "baddbmm", "linear", "mv", "dot", "addmv"}
_PLACES = re.compile(r"(pool|upsample|reflection_pad|replication_pad|grid_sampler).*?([123])d")
_MADE = re.compile(r"(new_)?(zeros|ones|empty|full|rand|randn|randint|arange|eye)(_like|_strided)?$")


class Rules:
    """Labels what operators give.

    Args:
        labels: of all tensors.
    """

    def __init__(self, labels: Labels) -> None:
        self._labels = labels
        self._first: dict[Any, Tensor] = {}  # the first of the pieces of a tensor

    def __call__(self, operator: Any, args: Sequence[Any], options: Mapping[str, Any], output: Any) -> None:
        """An operator has run.

        Args:
            operator: of `torch.ops`.
            args: that it was called with.
            options: likewise, by name.
            output: what it gave.
        """
        name = operator._schema.name.partition("::")[2]
        name = name[:-1] if name.endswith("_") and not name.endswith("__") else name
        given, gives = tensors((args, options)), tensors(output)
        product = name in _PRODUCTS or "attention" in name or "conv" in name
        if not gives or _MADE.match(name):
            return
        if any(self._labels.of(one, weight=product and one.ndim > 1) is not None for one in given):
            self._rule(name, operator)(Call(name, operator, args, options, given, gives))

    def _rule(self, name: str, operator: Any) -> Callable[[Call], None]:
        for names, rule in (
            (_PIECES, self._pieces), (_RESHAPES, self._reshape), (_SAME, self._same), (_MOVES, self._move),
            ({"glu"}, self._glu), (_PRODUCTS, self._product), (_ALONG, self._along),
        ):  # fmt: skip
            if name in names:
                return rule
        if "scaled_dot_product" in name:
            return self._attention
        if _PLACES.search(name):
            return self._places
        return self._pointwise if torch.Tag.pointwise in operator.tags else self._unknown

    def _unknown(self, call: Call) -> None:
        if not call.operator.is_view:
            for one in call.given:
                if (label := self._labels.of(one, weight=True)) is not None:
                    self._labels.block(label, f"{MIXED} ({call.name})")

    def _same(self, call: Call) -> None:
        output, written = call.gives[0], call.name == "copy"
        found = self._labels.of(call.args[1] if written else call.args[0])
        if found is not None:
            self._labels.put(output, found)
        elif written and (old := self._labels.of(output)) is not None:
            old.zero_()

    def _move(self, call: Call) -> None:
        name, output = call.name, call.gives[0]

        def label(tensor: Tensor) -> Tensor:
            found = self._labels.of(tensor)
            return torch.zeros(tensor.shape, dtype=torch.float64) if found is None else found

        numbers = list(call.args)
        if name in {"cat", "stack"}:
            numbers[0] = [label(one) for one in call.args[0]]
        else:
            numbers[0] = label(call.args[0])
        if name == "constant_pad_nd":
            numbers[2:] = [0.0]
        if "scatter" in name:
            numbers[1] = label(call.args[1])
        if "index_put" in name:
            numbers[2] = label(call.args[2])
            self._labels.put(output, torch.ops.aten.index_put(*numbers[:3]))
            return
        if "channel_shuffle" in name:
            self._tie(numbers[0].unflatten(1, (call.args[1], -1)), 1)
        if not call.operator._schema.is_mutable:
            self._labels.put(output, call.operator(*numbers, **call.options))

    def _pieces(self, call: Call) -> None:
        """Pieces of one size must stay so: the code that takes them counts."""
        whole, dim = call.args[0], call.values.get("dim", 0)
        found = self._labels.of(whole)
        if found is None or reduced(found).shape[dim] == 1:
            return
        for one in call.gives:
            if one.shape == whole.shape:
                continue
            key = (
                whole.untyped_storage()._cdata, whole.storage_offset(), whole.shape, whole.stride(), dim % whole.ndim,
                one.shape,
            )  # fmt: skip
            piece = self._labels.of(one)
            if piece is not None and (first := self._first.setdefault(key, piece.clone())) is not piece:
                self._labels.join(first, piece)

    def _reshape(self, call: Call) -> None:
        before, after = call.args[0], call.gives[0]
        found, given = self._labels.of(after), self._labels.of(before)
        if found is None and given is not None:  # it was copied
            self._labels.put(after, given.reshape(after.shape))
            found = self._labels.of(after)
        if found is None or given is None:
            return
        varying = reduced(given).shape
        for dim, parts in split(tuple(before.shape), tuple(after.shape)):
            if varying[dim] > 1:
                # the largest follows the width of the layer, the others are numbers of the code
                largest = max(parts, key=lambda part: (after.shape[part], part))
                for part in parts:
                    if part != largest:
                        self._tie(found, part)

    def _tie(self, labels: Tensor, dim: int) -> None:
        self._labels.join(labels.narrow(dim, 0, 1), labels)

    def _glu(self, call: Call) -> None:
        found = self._labels.of(call.args[0])
        if found is not None:
            one, other = found.chunk(2, call.values.get("dim", -1))
            self._labels.join(one, other)
            self._labels.put(call.gives[0], torch.where(one != 0, one, other))

    def _pointwise(self, call: Call) -> None:
        output = call.gives[0]
        rank = output.ndim
        given = [one for one in call.given if self._labels.of(one) is not None]
        parts = []
        for one in given:
            if (label := self._labels.of(one)) is not None:
                parts.append(reduced(label.reshape((1,) * (rank - one.ndim) + tuple(one.shape))))
        sizes = [(1,) * (rank - one.ndim) + tuple(one.shape) for one in given]
        kept: list[Tensor] = []
        for index, part in enumerate(parts):
            others = [other.shape for place, other in enumerate(parts) if place != index]
            stretched = any(
                sizes[index][dim] == 1 and output.shape[dim] > 1 and any(other[dim] > 1 for other in others)
                for dim in range(rank)
            )
            if stretched:  # one number for all channels of the other
                self._labels.block(part, "it is used for all channels of another layer")
            else:
                kept.append(part)
        if not kept:
            return
        found = kept[0]
        for other in kept[1:]:
            self._labels.join(found, other)
            found = torch.where(found != 0, found, other)
        self._labels.put(output, found)

    def _along(self, call: Call) -> None:
        whole, name = call.args[0], call.name
        found = self._labels.of(whole)
        if found is None:
            return
        dims = call.values.get("dim", -1 if name in {"sort", "topk"} else None)
        dims = [dims] if isinstance(dims, int) else list(dims or range(whole.ndim))
        dims = [dim % max(whole.ndim, 1) for dim in dims]
        if name in _POOLS and whole.ndim > 3 and min(dims) > 1:
            self._together(found, dims)
        found = reduced(found)
        if any(found.shape[dim] > 1 for dim in dims):
            self._labels.block(found, f"{MIXED} ({name.strip('_')})")
            return
        for one in call.gives:
            if one.ndim == whole.ndim:
                self._labels.put(one, found)
            else:
                self._labels.put(one, found[tuple(0 if dim in dims else slice(None) for dim in range(whole.ndim))])

    def _together(self, labels: Tensor, dims: Sequence[int]) -> None:
        """All places along these dimensions are one channel's."""
        first = labels
        for dim in dims:
            first = first.narrow(dim, 0, 1)
        self._labels.join(first, labels)
        labels.copy_(first.expand(labels.shape))

    def _places(self, call: Call) -> None:
        """What works on each channel of an image by itself."""
        image, size = call.args[0], _PLACES.search(call.name)
        found = self._labels.of(image)
        if found is None or size is None:
            return
        count = int(size[2])
        dims = range(image.ndim - count, image.ndim)
        self._together(found, dims)
        for dim in dims:
            found = found.narrow(dim, 0, 1)
        for one in call.gives:
            self._labels.put(one, found)

    def _product(self, call: Call) -> None:
        name, given, output = call.name, call.given, call.gives[0]
        *added, one, other = given if name in {"addmm", "baddbmm", "addmv"} else given[:2]
        if name == "linear":
            added = list(given[2:])
        rows, columns = self._labels.of(one, weight=True), self._labels.of(other, weight=True)
        if name == "linear" and columns is not None:
            columns = columns.mT
        found = self._contracted(rows, columns, output)
        for bias in added:
            if (label := self._labels.of(bias)) is not None:
                if found is None:
                    self._labels.block(label, f"{MIXED} ({name})")
                else:
                    self._labels.join(found, label)
        if found is not None:
            self._labels.put(output, found)

    def _contracted(self, one: Tensor | None, other: Tensor | None, output: Tensor) -> Tensor | None:
        """The labels of rows or of columns, where what is summed over is no channel."""
        rows, columns = self._kept(one, -1), self._kept(other, -2 if other is not None and other.ndim > 1 else -1)
        found = columns if rows is None else rows
        if rows is not None and columns is not None:
            for part in (rows, columns):
                self._labels.block(part, f"{MIXED} (a product)")
            return None
        if found is not None and found.ndim != output.ndim:
            self._labels.block(found, f"{MIXED} (a product)")
            return None
        return found

    def _kept(self, labels: Tensor | None, dim: int) -> Tensor | None:
        if labels is None:
            return None
        found = reduced(labels)
        if found.shape[dim] > 1:
            self._labels.block(found, f"{MIXED} (a product)")
            return None
        return found

    def _attention(self, call: Call) -> None:
        values, output = call.values, call.gives[0]
        for name in ("query", "key", "attn_bias", "attn_mask"):
            label = self._labels.of(one) if isinstance(one := values.get(name), Tensor) else None
            if label is not None and reduced(label).shape[-1] > 1:
                self._labels.block(label, f"{MIXED} (attention)")
        found = self._labels.of(values["value"])
        if found is not None:
            found = reduced(found)
            if found.shape[-2] > 1:
                self._labels.block(found, f"{MIXED} (attention)")
            else:
                self._labels.put(output, found)
