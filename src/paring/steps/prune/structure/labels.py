"""Which channel each number of each tensor is of, while a network runs.

A channel is a whole number; 0 is none. Labels lie in memory as the numbers themselves do, one table for each storage,
so that views, transpositions and writes into slices need no rule: they are the same view of the table.
"""

from bisect import bisect_right
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef

from paring.steps.prune.structure.carve import Side
from paring.steps.prune.structure.links import Links, Place

MIXED = "what lies behind it mixes its channels or needs all of them"
_READ = "the code around it reads its weight"
_PAIR = 2**31


class Labels:
    """The labels of all tensors, and what is known of the channels.

    Args:
        bare: name -> parameter or buffer that belongs to no layer.
        owned: id of a storage -> the layer that it belongs to.

    Attributes:
        links: channels that go together.
        blocked: channel -> why it stays.
        sizes: (layer, side) -> number of channels.
        axes: bare tensor -> the dimension of its channels; after `settle`.
    """

    def __init__(self, bare: Mapping[str, Tensor], owned: Mapping[int, str]) -> None:
        self.links = Links()
        self.blocked: dict[Place, str] = {}
        self.sizes: dict[tuple[str, Side], int] = {}
        self.axes: dict[str, int] = {}
        self._bare = {_key(tensor): (name, tensor) for name, tensor in bare.items()}
        self._whole: dict[str, str] = {}  # bare tensor -> why it stays
        self._owned, self._read = owned, set[str]()
        # the reference keeps a storage's address from being given again
        self._tables: dict[int, tuple[StorageWeakRef, int, Tensor | None]] = {}
        self._first: list[int] = []
        self._names: list[tuple[str, Side | str]] = []
        self._known: dict[tuple[str, Side | str], int] = {}
        self._next = 1

    def channels(self, name: str, side: "Side | str", count: int) -> Tensor:
        """The labels of a layer's channels, shape (count,)."""
        if (name, side) not in self._known:
            self._known[name, side] = self._next
            self._first.append(self._next)
            self._names.append((name, side))
            self._next += count
            if side != "element":
                self.sizes[name, side] = count  # type: ignore[index]
                for channel in range(count):
                    self.links.top((name, side, channel))  # type: ignore[arg-type]
        begin = self._known[name, side]
        return torch.arange(begin, begin + count, dtype=torch.float64)

    def of(self, tensor: Tensor, *, weight: bool = False) -> Tensor | None:
        """A tensor's labels, of its shape, or None; they change where they are written to.

        Args:
            tensor: any.
            weight: whether it is multiplied with as a matrix, so that a bare tensor stays as it is.
        """
        key = _key(tensor)
        if key in self._owned:
            self._read.add(self._owned[key])
            return None
        if key in self._bare:
            if weight:
                self._whole[self._bare[key][0]] = MIXED
                return None
            if key not in self._tables:
                name, bare = self._bare[key]
                self._hold(bare, self.channels(name, "element", _count(bare)))
        if key not in self._tables:
            return None
        _, size, table = self._tables[key]
        if table is None or size != tensor.element_size():
            return None
        return _seen(tensor, table)

    def put(self, tensor: Tensor, labels: Tensor) -> None:
        """Gives a tensor labels, which are broadcast to its shape."""
        if 0 in tensor.shape:
            return
        found = self.of(tensor)
        if found is None:
            self._hold(tensor, torch.zeros(_count(tensor), dtype=torch.float64))
            found = self.of(tensor)
        if found is not None and not _overlaps(tensor):
            same = labels.untyped_storage()._cdata == found.untyped_storage()._cdata
            found.copy_((labels.clone() if same else labels).expand(tensor.shape))

    def join(self, one: Tensor, other: Tensor) -> None:
        """Channels that stand at the same place of both go together."""
        one, other = (part.long() for part in torch.broadcast_tensors(one, other))  # type: ignore[no-untyped-call]
        differ = (one != 0) & (other != 0) & (one != other)
        for code in torch.unique(one[differ] * _PAIR + other[differ]).tolist():
            self.links.join(self._place(code // _PAIR), self._place(code % _PAIR))

    def block(self, labels: Tensor, reason: str) -> None:
        """These channels stay."""
        for label in torch.unique(labels.long()).tolist():
            if label:
                place = self._place(label)
                if place[1] == "element":
                    self._whole.setdefault(place[0], reason)
                else:
                    self.links.top(place)
                    self.blocked.setdefault(place, reason)

    def settle(self) -> None:
        """Finds the dimension of each bare tensor that runs over channels; where there is none, those stay."""
        for name, side in self._names:
            if name in self._read and side != "element":
                for channel in range(self.sizes[name, side]):  # type: ignore[index]
                    self.blocked[name, side, channel] = _READ  # type: ignore[index]
        for name, tensor in self._bare.values():
            if (name, "element") in self._known:
                self._settle(name, tensor)

    def _settle(self, name: str, tensor: Tensor) -> None:
        numbers = _seen(tensor, torch.arange(_count(tensor)))
        met = {place[2] for place in self.links.met(name)}
        tops: dict[Place, int] = {}
        roots = numbers.clone().apply_(
            lambda number: (
                tops.setdefault(self.links.top((name, "element", number)), len(tops)) if number in met else -1
            )
        )
        axis = next((dim for dim in range(tensor.ndim) if _along(roots, dim)), None)
        reason = self._whole.get(name)
        if reason is None and axis is None and len(tops) > 1:
            reason = f"{name} holds its channels along several dimensions"
        if reason is not None:
            self.blocked |= dict.fromkeys(tops, reason)
        elif axis is not None:
            self.axes[name], self.sizes[name, "out"] = axis, tensor.shape[axis]
            places = list(tops)
            for channel, row in enumerate(
                roots.movedim(axis, 0).reshape(tensor.shape[axis], -1).max(1).values.tolist()
            ):
                if row >= 0:
                    self.links.join(places[row], (name, "out", channel))

    def _place(self, label: int) -> Place:
        index = bisect_right(self._first, label) - 1
        name, side = self._names[index]
        return name, side, label - self._first[index]  # type: ignore[return-value]

    def _hold(self, tensor: Tensor, table: Tensor) -> None:
        storage = tensor.untyped_storage()
        self._tables[_key(tensor)] = (
            StorageWeakRef(storage), tensor.element_size(), table,  # type: ignore[no-untyped-call]
        )  # fmt: skip
        if len(self._tables) % 64 == 0:
            for key, (held, size, old) in self._tables.items():
                if old is not None and held.expired():  # type: ignore[no-untyped-call]
                    self._tables[key] = held, size, None


def reduced(labels: Tensor) -> Tensor:
    """The same with size 1 along each dimension that they do not change along."""
    for dim in range(labels.ndim):
        if labels.shape[dim] > 1:
            first = labels.narrow(dim, 0, 1)
            if bool((labels == first).all()):
                labels = first
    return labels


def storages(parts: Mapping[str, nn.Module]) -> dict[int, str]:
    """Id of a storage -> the first of these layers that it belongs to."""
    found: dict[int, str] = {}
    for name, part in parts.items():
        for tensor in part.state_dict(keep_vars=True).values():
            found.setdefault(_key(tensor), name)
    return found


def _key(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


def _overlaps(tensor: Tensor) -> bool:
    return any(stride == 0 and size > 1 for size, stride in zip(tensor.shape, tensor.stride(), strict=True))


def _count(tensor: Tensor) -> int:
    return tensor.untyped_storage().nbytes() // tensor.element_size()


def _seen(tensor: Tensor, table: Tensor) -> Tensor:
    """What a tensor sees of a table that lies as its storage does."""
    return table.as_strided(tensor.size(), tensor.stride(), tensor.storage_offset())


def _along(roots: Tensor, dim: int) -> bool:
    """Whether a dimension runs over channels: each place along it is of one, and not all of the same; -1 is any."""
    rows = roots.movedim(dim, 0).reshape(roots.shape[dim], -1)
    most = rows.max(1, keepdim=True).values
    return bool(((rows == most) | (rows < 0)).all()) and len(set(most.flatten().tolist()) - {-1}) > 1
