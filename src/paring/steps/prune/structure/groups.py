"""Which channels of a network belong together: removing one of them forces the others to go.

Fang et al. 2023, "DepGraph: Towards Any Structural Pruning", arXiv:2301.12900, section 3: layers depend on each other
through what lies between them (a residual sum, a concatenation, a norm), and the transitive closure of that relation is
what must be cut at once. It is found for single channels by following them through a forward pass (`follow`), and
every group is put to the proof before it is offered: see `paring.steps.prune.structure.proof`.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import nn

from paring.core.model import Model
from paring.core.target import one_sample
from paring.steps.prune.structure.carve import ATTENTION, Side, dimensions, one_input_each
from paring.steps.prune.structure.follow import WHOLE, follow
from paring.steps.prune.structure.labels import Labels
from paring.steps.prune.structure.links import Links

WEIGHTED = (nn.modules.conv._ConvNd, nn.Linear, nn.LSTM)


@dataclass(frozen=True)
class Group:
    """Units of channels, any of which can go; a unit is what must go together.

    Attributes:
        layers: that produce the channels, the first of them names the group.
        members: (layer, side) -> for each unit its channels there; every layer and side has as many in each unit.
        part: which of the groups that begin with the same layer, as where its channels are split.
    """

    layers: tuple[str, ...]
    members: Mapping[tuple[str, Side], tuple[tuple[int, ...], ...]] = field(repr=False)
    part: int = 0

    @property
    def name(self) -> str:
        """The first layer's, and which of its groups it is: unlike every other group's."""
        return f"{self.layers[0]}[{self.part}]" if self.part else self.layers[0]

    @cached_property
    def units(self) -> int:
        """How many."""
        return len(next(iter(self.members.values())))

    @cached_property
    def channels(self) -> int:
        """Of its first layer, in one unit."""
        return len(self.members[self.layers[0], "out"][0])

    @property
    def width(self) -> int:
        """Channels of its first layer that the group holds."""
        return self.units * self.channels


@dataclass(frozen=True)
class Structure:
    """What can be cut of a network.

    Attributes:
        groups: in the order of the network.
        sizes: (layer, side) -> number of channels, of every layer that a group touches.
        axes: bare parameter -> the dimension of its channels.
        skipped: layer with weights -> why its outputs cannot be cut.
    """

    groups: tuple[Group, ...]
    sizes: Mapping[tuple[str, Side], int]
    axes: Mapping[str, int]
    skipped: Mapping[str, str]

    def kept(self, units: Mapping[str, Sequence[int]]) -> dict[tuple[str, Side], list[int]]:
        """What stays of each layer where of each group named only these units do."""
        gone: dict[tuple[str, Side], set[int]] = defaultdict(set)
        for group in self.groups:
            if group.name in units:
                lost = set(range(group.units)) - set(units[group.name])
                for side, channels in group.members.items():
                    gone[side].update(channel for unit in lost for channel in channels[unit])
        return {
            side: [channel for channel in range(self.sizes[side]) if channel not in channels]
            for side, channels in gone.items()
            if channels
        }


def find(model: Model) -> Structure:
    """The groups of a model, before any proof."""
    module = model.module
    names = {layer: name for name, layer in module.named_modules()}
    sample = one_sample(model.inputs)
    found = follow(module, [torch.from_numpy(sample[spec.name]) for spec in model.inputs])
    _join_within_layers(module, names, found.links, found.sizes)
    _join_shared_weights(module, names, found.links, found.sizes)
    return _assembled(module, found)


def _join_within_layers(
    module: nn.Module, names: Mapping[nn.Module, str], links: Links, sizes: dict[tuple[str, Side], int]
) -> None:
    """What a layer's own shape couples: groups of a convolution and of a group norm must stay of equal size."""
    for layer in module.modules():
        name = names[layer]
        if isinstance(layer, nn.modules.conv._ConvNd) and layer.groups > 1:
            if not {(name, "in"), (name, "out")} & sizes.keys():
                continue
            sizes[name, "in"], sizes[name, "out"] = layer.in_channels, layer.out_channels
            if one_input_each(layer):
                times = layer.out_channels // layer.groups
                for channel in range(layer.out_channels):
                    links.join((name, "in", channel // times), (name, "out", channel))
            else:
                sides: tuple[tuple[Side, int], ...] = (("in", layer.in_channels), ("out", layer.out_channels))
                for side, size in sides:
                    for channel in range(size):
                        links.join((name, side, channel % (size // layer.groups)), (name, side, channel))
        if isinstance(layer, nn.GroupNorm) and layer.num_groups < layer.num_channels and (name, "out") in sizes:
            within = layer.num_channels // layer.num_groups
            for channel in range(layer.num_channels):
                links.join((name, "out", channel % within), (name, "out", channel))


def _join_shared_weights(
    module: nn.Module, names: Mapping[nn.Module, str], links: Links, sizes: dict[tuple[str, Side], int]
) -> None:
    """Layers that share a weight lose the same rows and columns of it."""
    first: dict[tuple[int, int], tuple[str, Side]] = {}
    for layer in module.modules():
        for side, (dim, size) in dimensions(layer).items():
            own = names[layer], side
            other = first.setdefault((id(layer.weight), dim), own)
            if other != own:
                sizes[own] = sizes[other] = size
                for channel in range(size):
                    links.join((*other, channel), (*own, channel))


def _assembled(module: nn.Module, labels: Labels) -> Structure:
    """Units that touch the same layers alike are a group."""
    order = {name: position for position, (name, _) in enumerate(module.named_modules())}
    links, axes = labels.links, labels.axes
    blocked = {links.top(place): reason for place, reason in reversed(labels.blocked.items())}
    alike: dict[Any, list[dict[tuple[str, Side], list[int]]]] = defaultdict(list)
    skipped: dict[str, str] = {}
    for unit in links.units():
        sides: dict[tuple[str, Side], list[int]] = defaultdict(list)
        for name, side, channel in unit:
            if side != "element":
                sides[name, side].append(channel)
        producers = [name for name, side in sides if side == "out" and _weighted(module, name, axes)]
        reason = blocked.get(links.top(unit[0]))
        if reason is None and not any(side == "in" and _weighted(module, name, axes) for name, side in sides):
            reason = "no layer with weights reads its channels"
        if not producers or reason is not None:
            skipped |= {name: reason for name in producers if reason is not None}
            continue
        alike[frozenset((place, len(channels)) for place, channels in sides.items())].append(sides)
    groups = []
    begun: dict[str, int] = defaultdict(int)
    for members in alike.values():
        members.sort(key=lambda sides: min(sides.items(), key=lambda item: order.get(item[0][0], -1))[1])
        places = sorted(members[0], key=lambda place: (order.get(place[0], -1), place[1]))
        producers = [name for name, side in places if side == "out" and _weighted(module, name, axes)]
        if len(members) == 1:
            skipped |= dict.fromkeys(producers, "its channels can only go all at once")
            continue
        groups.append(
            Group(
                tuple(producers), {place: tuple(tuple(sorted(one[place])) for one in members) for place in places},
                begun[producers[0]],
            )
        )  # fmt: skip
        begun[producers[0]] += 1
    groups.sort(key=lambda group: (order[group.layers[0]], group.part))
    found = {layer for group in groups for layer in group.layers} | skipped.keys()
    for name, part in module.named_modules():
        if isinstance(part, WEIGHTED) and name not in found:
            inside = isinstance(module.get_submodule(name.rpartition(".")[0]), ATTENTION)
            skipped[name] = f"it is part of {WHOLE}" if inside else "it is never called as a layer"
    return Structure(tuple(groups), labels.sizes, axes, skipped)


def _weighted(module: nn.Module, name: str, axes: Mapping[str, int]) -> bool:
    return name not in axes and isinstance(module.get_submodule(name), WEIGHTED)
