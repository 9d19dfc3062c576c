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
    # BERT, MobileViT; SqueezeBERT; ALBERT
    (("query", "key", "value"), ("^output.dense", "^post_attention.conv1d", "dense"), {}),
    # ViT, DeiT, Llama; Swin; torch, unpacked
    (("q_proj", "k_proj", "v_proj"), ("o_proj", "out_proj", "dense"), {_BIAS: 1}),
    (("query_proj", "key_proj", "value_proj"), ("^output.dense",), {}),  # DeBERTa
    (("q", "k", "v"), ("o",), {}),  # MPNet, T5
    (("q_head", "k_head", "v_head"), ("post_proj",), {}),  # Funnel
)
# one projection for all three, the one behind it, and whether it gives all queries, then all keys, then all values, or
# those of each head one behind the other
_FUSED = (
    (("qkv", "Wqkv", "qkv_proj", "in_proj", "to_qkv"), 3),  # timm; ModernBERT
    (("query_key_value",), 1),  # GPT-NeoX
)
_BEHIND = ("proj", "Wo", "out_proj", "o_proj", "dense", "to_out", "to_out.0", "^output.dense")
_FEED_FORWARD: tuple[tuple[tuple[str, ...], str], ...] = (
    (("lin1",), "lin2"),  # DistilBERT
    (("fc1",), "fc2"),  # ViT, Swin
    (("linear1",), "linear2"),  # torch
    (("intermediate.dense",), "output.dense"),  # BERT, MobileViT
    (("intermediate.conv1d",), "output.conv1d"),  # SqueezeBERT
    (("ffn",), "ffn_output"),  # ALBERT
    (("gate_proj", "up_proj"), "down_proj"),  # Llama
    (("Wi",), "Wo"),  # ModernBERT, whose first layer gives units and gates
    (("weights_in",), "weights_out"),  # DINOv2, likewise
    (("dense_h_to_4h",), "dense_4h_to_h"),  # GPT-NeoX
    (("layer_1",), "layer_2"),  # XLNet
    (("linear_1",), "linear_2"),  # Funnel
)
_WIDTHS = ("all_head_size", "dim", "attn_dim")  # those that count the features of all heads together
_HEAD_SIZES = ("head_dim", "attention_head_size", "head_size")


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
        parts: of what each giver gives, one behind the other, such as queries, keys and values, or units and gates.
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
    parts: int = 1

    def features(self, units: Tensor) -> Tensor:
        """Indices of the features of some units where they are taken, all int64."""
        return (units[:, None] * self.size + torch.arange(self.size)).flatten()

    def given(self, units: Tensor, width: int) -> Tensor:
        """Likewise of a giver with so many outputs: heads that share keys have fewer features there."""
        part = width // self.parts
        size = part // self.count
        found = (units[:, None] * size + torch.arange(size)).flatten()
        return torch.cat([found + index * part for index in range(self.parts)])


def find(module: nn.Module) -> tuple[list[Units], dict[str, str]]:
    """All heads and feed-forward units, in the order of the modules; and attention that can lose no head -> why.

    That they work as their names promise is another matter: see `standing`.
    """
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
        layer = module.get_submodule(giver)
        _narrow(layer, outputs=units.given(kept, _given(layer)))
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
    if isinstance(part, nn.MultiheadAttention):  # what can be is unpacked before (`unpack.opened`)
        raise _Uncuttable(
            unpack.why_whole(part) or "an earlier step shaped its packed weights: place prune.heads first"
        )
    each = next((size for one in _HEAD_SIZES if isinstance(size := getattr(part, one, None), int)), None)
    if counted is None and each is None:
        return []
    row = next((row for row in _ATTENTION if all(isinstance(getattr(part, n, None), Projection) for n in row[0])), None)
    fused = [(n, blocks) for one, blocks in _FUSED for n in one if isinstance(getattr(part, n, None), Projection)]
    names: tuple[str, ...]
    if row is not None:
        names, takers, tables, blocks = row[0], row[1], row[2], 1
    elif fused:
        names, takers, tables, blocks = (fused[0][0],), _BEHIND, {_BIAS: 1}, fused[0][1]
    elif counted is not None and _attends(part):
        raise _Uncuttable("the names of its projections are not known")
    else:
        return []
    beside = name.rpartition(".")[0]
    places = [_join(beside, one[1:]) if one[0] == "^" else _join(name, one) for one in takers]
    taker = next((one for one in places if isinstance(parts.get(one), Projection)), None)
    if taker is None:
        raise _Uncuttable(f"no projection is found behind its values ({' or '.join(places)})")
    givers = tuple(_join(name, one) for one in names)
    wide = [_given(parts[one]) // (3 if fused and row is None else 1) for one in givers]
    count = int(getattr(part, counted)) if counted is not None else wide[0] // (each or 1)
    return [_units(name, part, _Found(counted, count, givers, taker, blocks, tables), wide, parts)]


@dataclass(frozen=True, slots=True)
class _Found:
    """Attention, before it is known whether its heads can go."""

    counted: str | None
    count: int
    givers: tuple[str, ...]
    taker: str
    blocks: int
    tables: Mapping[str, int]


def _units(name: str, part: nn.Module, found: _Found, wide: list[int], parts: Mapping[str, nn.Module]) -> Units:
    """Its heads, or those that share keys and values as one unit. Raises _Uncuttable if they have to stay."""
    count, givers, taker = found.count, found.givers, found.taker
    shared = 1
    if len(set(wide)) > 1:
        size = wide[0] // max(count, 1)
        unlike = wide[1] != wide[2] and (wide[0] != wide[1] or wide[2] % max(count, 1))  # values may be of another size
        if unlike or not size or wide[1] % size or wide[0] % wide[1]:
            told = ", ".join(map(str, wide))
            raise _Uncuttable(f"queries, keys and values have {told} features: heads share keys or values")
        shared = wide[0] // wide[1]
        count //= shared
    if not count or wide[0] % count:
        raise _Uncuttable(f"its {wide[0]} features do not divide into {count} heads")
    values = wide[-1] * shared  # which may have other sizes than queries and keys
    if _taken(parts[taker]) != values:
        raise _Uncuttable(f"{taker} takes {_taken(parts[taker])} features, and its heads give {values}")
    groups = lcm(*(_groups(parts[one]) for one in (*givers, taker)))
    if count % groups:
        raise _Uncuttable(f"its {count} heads do not divide into the {groups} groups of its convolutions")
    there = {
        _join(name, table): axis
        for table, axis in found.tables.items()
        if _join(name, table.rpartition(".")[0]) in parts
    }
    numbers = {one: wide[0] // count for one in _WIDTHS if getattr(part, one, None) == wide[0]}
    if found.counted is not None:
        numbers[found.counted] = shared
    if getattr(part, "num_key_value_heads", None) == count:
        numbers["num_key_value_heads"] = 1
    return Units(name, "heads", givers, taker, count, values // count, groups, numbers, there, found.blocks)


def _attends(part: nn.Module) -> bool:
    """Whether a module multiplies with matrices, and none of those inside it counts heads itself."""
    inside = list(part.modules())[1:]
    if any(isinstance(getattr(one, name, None), int) for one in inside for name in HEADS):
        return False
    return any(parameter.ndim > 1 for parameter in part.parameters())


def _feed_forward(name: str, parts: Mapping[str, nn.Module]) -> list[Units]:
    found = []
    for names, behind in _FEED_FORWARD:
        givers, second = tuple(_join(name, one) for one in names), _join(name, behind)
        if not all(isinstance(parts.get(one), Projection) for one in (*givers, second)):
            continue
        count, wide = _taken(parts[second]), {_given(parts[one]) for one in givers}
        groups = lcm(*(_groups(parts[one]) for one in (*givers, second)))
        if count % groups == 0 and wide in ({count}, {2 * count}):
            blocks = wide.pop() // count
            found.append(Units(givers[0], "feed_forward", givers, second, count, groups=groups, parts=blocks))
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
