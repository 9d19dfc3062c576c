"""Cutting: a copy of a module whose layers keep only some of their channels."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

Side = Literal["in", "out"]
Kept = Mapping[tuple[str, Side], Sequence[int]]
"""(layer or parameter, side) -> the channels that stay, ascending."""
ATTENTION = (nn.MultiheadAttention,)
NORMS_OVER_CHANNELS = (nn.LayerNorm, nn.GroupNorm)


@dataclass(frozen=True, slots=True)
class Axis:
    """A parameter that belongs to no layer, such as a position embedding, and the dimension of its channels."""

    parameter: str
    dim: int


def carved(module: nn.Module, kept: Kept, axes: Mapping[str, int] | None = None) -> nn.Module:
    """A copy of `module` with smaller tensors; sizes that its layers hold as attributes follow.

    Args:
        module: untouched.
        kept: what stays of each layer; a layer that is not named stays as it is. Of a convolution in groups the same
            places must stay in each group, or whole groups where each has a single input channel; likewise of a
            group norm.
        axes: name of a bare parameter -> the dimension of its channels.
    """
    found = copy.deepcopy(module)
    knife = _Knife()
    for (name, side), channels in kept.items():
        index = torch.tensor(channels, dtype=torch.long)
        if axes and name in axes:
            owner, _, last = name.rpartition(".")
            knife.cut(found.get_submodule(owner), last, axes[name], index)
        else:
            _carve(found.get_submodule(name), side, index, knife)
    return found


class _Knife:
    """Cuts tensors; those that several layers share stay shared."""

    def __init__(self) -> None:
        # the old one is kept too, so that its id is not given again
        self._made: dict[tuple[int, int, tuple[int, ...]], tuple[Tensor, Tensor]] = {}

    def cut(self, owner: nn.Module, name: str, dim: int, index: Tensor) -> None:
        old = getattr(owner, name, None)
        if old is None:
            return
        key = id(old), dim, tuple(index.tolist())
        if key not in self._made:
            smaller = old.detach().index_select(dim, index.to(old.device)).contiguous()
            new = nn.Parameter(smaller, old.requires_grad) if isinstance(old, nn.Parameter) else smaller
            self._made[key] = old, new
        setattr(owner, name, self._made[key][1])


def _carve(layer: nn.Module, side: Side, index: Tensor, knife: _Knife) -> None:
    count = len(index)
    if isinstance(layer, nn.modules.conv._ConvNd):
        _convolution(layer, side, index, knife)
    elif isinstance(layer, nn.Linear):
        knife.cut(layer, "weight", 0 if side == "out" else 1, index)
        if side == "out":
            knife.cut(layer, "bias", 0, index)
            layer.out_features = count
        else:
            layer.in_features = count
    elif isinstance(layer, nn.Embedding):
        knife.cut(layer, "weight", 1, index)
        layer.embedding_dim = count
    elif isinstance(layer, nn.LSTM):
        _recurrent(layer, side, index, knife)
    else:
        _per_channel(layer, index, knife)


def _per_channel(layer: nn.Module, index: Tensor, knife: _Knife) -> None:
    """Norms and learned slopes: a number for each channel in every tensor."""
    count = len(index)
    for name in ("weight", "bias", "running_mean", "running_var"):
        knife.cut(layer, name, 0, index)
    if isinstance(layer, nn.modules.batchnorm._NormBase):  # batch and instance norm
        layer.num_features = count
    elif isinstance(layer, nn.LayerNorm):
        layer.normalized_shape = (count,)
    elif isinstance(layer, nn.GroupNorm):
        if layer.num_groups == layer.num_channels:
            layer.num_groups = count
        layer.num_channels = count
    elif isinstance(layer, nn.PReLU):
        layer.num_parameters = count
    else:
        raise TypeError(f"{type(layer).__name__} has no channels")


def dimensions(layer: nn.Module) -> dict[Side, tuple[int, int]]:
    """Side -> (dimension of the weight, channels) of a layer whose weight another one may share."""
    if isinstance(layer, nn.Linear):
        return {"out": (0, layer.out_features), "in": (1, layer.in_features)}
    if isinstance(layer, nn.Embedding):
        return {"out": (1, layer.embedding_dim)}
    if isinstance(layer, nn.modules.conv._ConvNd) and layer.groups == 1:
        first, second = (1, 0) if layer.transposed else (0, 1)
        return {"out": (first, layer.out_channels), "in": (second, layer.in_channels)}
    return {}


def one_input_each(layer: nn.modules.conv._ConvNd) -> bool:
    """Whether each group of a convolution in groups has a single input channel, as a depthwise one does."""
    return layer.groups > 1 and layer.in_channels == layer.groups


def _convolution(layer: nn.modules.conv._ConvNd, side: Side, index: Tensor, knife: _Knife) -> None:
    first, second = ("in", "out") if layer.transposed else ("out", "in")  # sides of the weight's first two dimensions
    if one_input_each(layer):
        # The first dimension runs over the groups; of the two sides, which are cut together, it is cut once.
        if side == first:
            knife.cut(layer, "weight", 0, index)
        if side == "out":
            knife.cut(layer, "bias", 0, index)
            layer.out_channels = len(index)
        else:
            layer.in_channels = layer.groups = len(index)
        return
    if side == first:
        knife.cut(layer, "weight", 0, index)
    else:
        within = (layer.in_channels if second == "in" else layer.out_channels) // layer.groups
        knife.cut(layer, "weight", 1, index[index < within])  # the same places in each group
    if side == "out":
        knife.cut(layer, "bias", 0, index)
        layer.out_channels = len(index)
    else:
        layer.in_channels = len(index)


def _recurrent(layer: nn.LSTM, side: Side, index: Tensor, knife: _Knife) -> None:
    ends = ("", "_reverse") if layer.bidirectional else ("",)
    if side == "in":
        for end in ends:
            knife.cut(layer, f"weight_ih_l0{end}", 1, index)
        layer.input_size = len(index)
        return
    gates = torch.cat([index + gate * layer.hidden_size for gate in range(4)])
    for name in ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"):
        knife.cut(layer, name, 0, gates)
    knife.cut(layer, "weight_hh_l0", 1, index)
    layer.hidden_size = len(index)
