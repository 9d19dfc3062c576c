"""Where a transformer keeps its heads and its feed-forward units, found by the names and the shapes of its layers.

Both are units between two layers: some projections give them, one takes them. A head is a run of features, a
feed-forward unit a single one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import lcm
from typing import Literal, cast

import torch
from torch import Tensor, nn

from paring.steps.prune.structure import unpack
from paring.train.distillation.pairs import HEADS

Projection = nn.Linear | nn.Conv1d
Kind = Literal["heads", "feed_forward"]

_BIAS = "relative_position_bias.relative_position_bias_table"
# the projections to query, key and value; the one behind them, inside the module or (^) beside it; tensors that have
# the heads on some axis
_ATTENTION: tuple[tuple[tuple[str, str, str], tuple[str, ...], Mapping[str, int]], ...] = (
    (("q_lin", "k_lin", "v_lin"), ("out_lin",), {}),  # DistilBERT
    (("query", "key", "value"), ("^output.dense", "^post_attention.conv1d"), {}),  # BERT, MobileViT; SqueezeBERT
    (("q_proj", "k_proj", "v_proj"), ("o_proj", "out_proj"), {_BIAS: 1}),  # ViT, DeiT; Swin; torch, unpacked
)  # fmt: skip
_FEED_FORWARD = (
    ("lin1", "lin2"),  # DistilBERT
    ("fc1", "fc2"),  # ViT, Swin
    ("linear1", "linear2"),  # torch
    ("intermediate.dense", "output.dense"),  # BERT, MobileViT
    ("intermediate.conv1d", "output.conv1d"),  # SqueezeBERT
)
_WIDTHS = ("all_head_size", "dim")  # those that count the features of all heads together


@dataclass(frozen=True)
class Units:
    """The heads of one attention, or the units of one feed-forward pair.

    Attributes:
        name: the module that attends, or the first layer of the pair.
        kind: which of both.
        givers: the layers whose outputs they are.
        taker: the layer whose inputs they are.
        count: how many there are.
        size: consecutive features of each.
        groups: of convolutions, each of which must lose as many units as the others.
        numbers: attributes of the module `name` -> what each unit counts in them.
        tables: other tensors with the units on some axis -> that axis.
    """

    name: str
    kind: Kind
    givers: tuple[str, ...]
    taker: str
    count: int
    size: int = 1
    groups: int = 1
    numbers: Mapping[str, int] = field(default_factory=dict)
    tables: Mapping[str, int] = field(default_factory=dict)

    def features(self, units: Tensor) -> Tensor:
        """Indices of the features of some units, all int64."""
        return (units[:, None] * self.size + torch.arange(self.size)).flatten()


def find(module: nn.Module) -> tuple[list[Units], dict[str, str]]:
    """All heads and feed-forward units, in the order of the modules; and attention that can lose no head -> why."""
    parts = dict(module.named_modules())
    found: list[Units] = []
    refused: dict[str, str] = {}
    for name in parts:
        try:
            found += _heads(name, parts)
        except _Uncuttable as reason:
            refused[name] = str(reason)
        found += _feed_forward(name, parts)
    return found, refused


def cut(module: nn.Module, units: Units, kept: Tensor) -> None:
    """Takes all but some units out of a module, in place.

    Args:
        module: that `units` was found in.
        units: what to cut.
        kept: int64, ascending; in each group equally many.
    """
    features = units.features(kept)
    for giver in units.givers:
        _narrow(module.get_submodule(giver), outputs=features)
    _narrow(module.get_submodule(units.taker), inputs=features)
    for attribute, each in units.numbers.items():
        setattr(module.get_submodule(units.name), attribute, len(kept) * each)
    for name, axis in units.tables.items():
        owner, _, last = name.rpartition(".")
        _put(module.get_submodule(owner), last, module.get_parameter(name).index_select(axis, kept))


def silence(module: nn.Module, units: Units, kept: Tensor) -> None:
    """Lets the layer behind the units read only some, in place: cut to these, the network must answer likewise."""
    layer = _projection(module.get_submodule(units.taker))
    read = torch.zeros(_taken(layer)).index_fill(0, units.features(kept), 1.0).chunk(_groups(layer))
    with torch.no_grad():
        for rows, own in zip(layer.weight.chunk(_groups(layer)), read, strict=True):
            rows.mul_(own.reshape(1, -1, *[1] * (rows.ndim - 2)))


def _narrow(layer: nn.Module, *, outputs: Tensor | None = None, inputs: Tensor | None = None) -> None:
    layer = _projection(layer)
    weight, groups = layer.weight, _groups(layer)
    if outputs is not None:
        weight = weight[outputs]
        if layer.bias is not None:
            _put(layer, "bias", layer.bias[outputs])
    if inputs is not None:  # the weight of a convolution counts them within its group
        within = inputs.reshape(groups, -1) % weight.shape[1]
        weight = torch.cat([rows[:, own] for rows, own in zip(weight.chunk(groups), within, strict=True)])
    _put(layer, "weight", weight)
    given, taken = weight.shape[0], weight.shape[1] * groups
    if isinstance(layer, nn.Linear):
        layer.out_features, layer.in_features = given, taken
    else:
        layer.out_channels, layer.in_channels = given, taken


def _put(owner: nn.Module, name: str, tensor: Tensor) -> None:
    trained = owner.get_parameter(name).requires_grad
    setattr(owner, name, nn.Parameter(tensor.detach().clone(memory_format=torch.contiguous_format), trained))


class _Uncuttable(Exception):
    """Why attention can lose no head."""


def _heads(name: str, parts: Mapping[str, nn.Module]) -> list[Units]:
    """The heads of the module of that name, if it has some. Raises _Uncuttable if they have to stay."""
    part = parts[name]
    counted = next((one for one in HEADS if isinstance(getattr(part, one, None), int)), None)
    if counted is None:
        return []
    if isinstance(part, nn.MultiheadAttention):  # what can be is unpacked before (`unpack.opened`)
        raise _Uncuttable(
            unpack.why_whole(part) or "an earlier step shaped its packed weights: place prune.heads first"
        )
    row = next((row for row in _ATTENTION if all(isinstance(getattr(part, n, None), Projection) for n in row[0])), None)
    if row is None:
        if any(isinstance(child, Projection) for child in part.children()):
            raise _Uncuttable("the names of its projections are not known")
        return []
    (query, key, value), takers, tables = row
    beside = name.rpartition(".")[0]
    places = [_join(beside, one[1:]) if one[0] == "^" else _join(name, one) for one in takers]
    taker = next((one for one in places if isinstance(parts.get(one), Projection)), None)
    if taker is None:
        raise _Uncuttable(f"no projection is found behind its values ({' or '.join(places)})")
    count = int(getattr(part, counted))
    givers = tuple(_join(name, one) for one in (query, key, value))
    wide = [_given(parts[one]) for one in givers]
    if len(set(wide)) > 1:
        raise _Uncuttable(
            f"queries, keys and values have {', '.join(map(str, wide))} features: heads share keys or values"
        )
    if wide[0] % count or _taken(parts[taker]) != wide[0]:
        raise _Uncuttable(f"its {wide[0]} features do not divide into {count} heads that {taker} takes")
    groups = lcm(*(_groups(parts[one]) for one in (*givers, taker)))
    if count % groups:
        raise _Uncuttable(f"its {count} heads do not divide into the {groups} groups of its convolutions")
    size = wide[0] // count
    there = {
        _join(name, table): axis for table, axis in tables.items() if _join(name, table.rpartition(".")[0]) in parts
    }
    widths = {one: size for one in _WIDTHS if getattr(part, one, None) == wide[0]}
    return [Units(name, "heads", givers, taker, count, size, groups, {counted: 1, **widths}, there)]


def _feed_forward(name: str, parts: Mapping[str, nn.Module]) -> list[Units]:
    found = []
    for pair in _FEED_FORWARD:
        first, second = (_join(name, one) for one in pair)
        giver, taker = parts.get(first), parts.get(second)
        if isinstance(giver, Projection) and isinstance(taker, Projection) and _given(giver) == _taken(taker):
            groups = lcm(_groups(giver), _groups(taker))
            if _given(giver) % groups == 0:
                found.append(Units(first, "feed_forward", (first,), second, _given(giver), groups=groups))
    return found


def _projection(layer: nn.Module) -> Projection:
    return cast("Projection", layer)


def _groups(layer: nn.Module) -> int:
    return int(getattr(layer, "groups", 1))


def _given(layer: nn.Module) -> int:
    return int(_projection(layer).weight.shape[0])


def _taken(layer: nn.Module) -> int:
    return int(_projection(layer).weight.shape[1]) * _groups(layer)


def _join(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name
