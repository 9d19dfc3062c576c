"""Which channels of a network belong together: removing one of them forces the others to go.

Fang et al. 2023, "DepGraph: Towards Any Structural Pruning", arXiv:2301.12900, section 3: layers depend on each other
through what lies between them (a residual sum, a concatenation, a norm), and the transitive closure of that relation is
what must be cut at once. The closure comes from torch-pruning's tracing; here it is refined to single channels, and
every group is put to the proof before it is offered: see `paring.steps.prune.structure.proof`.
"""

import copy
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import nn

from paring.core.errors import MissingExtra
from paring.core.model import Model
from paring.core.target import one_sample
from paring.steps.prune.structure.carve import ATTENTION, Side, dimensions, one_input_each

Place = tuple[str, Side, int]  # layer, side, channel
WEIGHTED = (nn.modules.conv._ConvNd, nn.Linear, nn.LSTM)


@dataclass(frozen=True)
class Group:
    """Units of channels, any of which can go; a unit is what must go together.

    Attributes:
        layers: that produce the channels, the first of them names the group.
        members: (layer, side) -> for each unit its channels there; every layer and side has as many in each unit.
    """

    layers: tuple[str, ...]
    members: Mapping[tuple[str, Side], tuple[tuple[int, ...], ...]] = field(repr=False)

    @property
    def name(self) -> str:
        """The first layer's."""
        return self.layers[0]

    @cached_property
    def units(self) -> int:
        """How many."""
        return len(next(iter(self.members.values())))

    @cached_property
    def channels(self) -> int:
        """Of its first layer, in one unit."""
        return len(self.members[self.name, "out"][0])

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
    """The groups of a model, before any proof.

    Raises:
        MissingExtra: torch-pruning is not installed.
    """
    module = copy.deepcopy(model.module).eval().requires_grad_(True)
    names = {layer: name for name, layer in module.named_modules()}
    links = _Links()
    blocked: dict[Place, str] = {}
    sizes: dict[tuple[str, Side], int] = {}
    axes: dict[str, int] = {}
    graph = _traced(model, module)
    roots = [node.module for node in graph.module2node.values() if isinstance(node.module, WEIGHTED)]
    for root in sorted(roots, key=list(names).index):
        width = graph.get_out_channels(root)
        pruner = graph.get_pruner_of_module(root)
        for item in graph.get_pruning_group(root, pruner.prune_out_channels, list(range(width))).items:
            target, channels, of_root = item.dep.target.module, item.idxs, item.root_idxs
            places = _places(graph, item.dep, names, sizes, axes)
            reason = _obstacle(target, places)
            for channel, source in zip(channels, of_root, strict=True):
                if any(channel >= sizes[place] for place in places):
                    continue  # zeros that padding put beside a narrower layer's channels
                links.join((names[root], "out", source), *((name, side, channel) for name, side in places))
                if reason is not None:
                    blocked[names[root], "out", source] = reason
    _join_within_layers(module, names, links, sizes)
    _join_shared_weights(module, names, links, sizes)
    return _assembled(module, links, blocked, sizes, axes)


def _traced(model: Model, module: nn.Module) -> Any:
    try:
        import torch_pruning
    except ModuleNotFoundError as error:
        raise MissingExtra.of("torch_pruning", "prune", "prune.channels") from error
    sample = one_sample(model.inputs)
    inputs = [torch.from_numpy(sample[spec.name]) for spec in model.inputs]
    graph = torch_pruning.DependencyGraph()
    # Lists of its own: the library's default arguments remember what an earlier network put into them.
    return graph.build_dependency(module, tuple(inputs), unwrapped_parameters=[], ignored_params=[], verbose=False)


def _places(
    graph: Any, dep: Any, names: Mapping[nn.Module, str], sizes: dict[tuple[str, Side], int], axes: dict[str, int]
) -> list[tuple[str, Side]]:
    """Where a dependency cuts: layers with their sides, none for an operator without weights."""
    target = dep.target.module
    if isinstance(target, nn.Parameter):
        name = graph._param_to_name[target]
        axes[name], sizes[name, "out"] = dep.target.pruning_dim, target.shape[dep.target.pruning_dim]
        return [(name, "out")]
    if target not in names:
        return []
    out, into = graph.is_out_channel_pruning_fn(dep.handler), graph.is_in_channel_pruning_fn(dep.handler)
    found: list[tuple[str, Side]] = []
    # A norm has one width; a depthwise convolution two, which go together (`_join_within_layers`).
    sides: list[Side] = ["out"] if out else ["in"] if into else []
    for side in sides:
        size = (graph.get_out_channels if side == "out" else graph.get_in_channels)(target)
        if size is not None:
            sizes[names[target], side] = size
            found.append((names[target], side))
    return found


def _obstacle(target: Any, places: Sequence[tuple[str, Side]]) -> str | None:
    """Why channels that reach this layer cannot be cut."""
    if type(target).__name__ == "_OutputOp":
        return "its channels are the network's answers"
    if isinstance(target, ATTENTION):
        return "its channels run through nn.MultiheadAttention, whose width is that of its heads"
    state = isinstance(target, nn.LSTM) and "out" in [side for _, side in places]
    if state and (target.num_layers > 1 or target.bidirectional or target.proj_size):
        return "its channels are the state of an LSTM with several layers or directions"
    if isinstance(target, nn.LayerNorm) and len(target.normalized_shape) > 1:
        return "its channels are normalized together with other dimensions"
    return None


def _join_within_layers(
    module: nn.Module, names: Mapping[nn.Module, str], links: "_Links", sizes: dict[tuple[str, Side], int]
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
    module: nn.Module, names: Mapping[nn.Module, str], links: "_Links", sizes: dict[tuple[str, Side], int]
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


def _assembled(
    module: nn.Module, links: "_Links", blocked: Mapping[Place, str], sizes: Mapping[tuple[str, Side], int],
    axes: Mapping[str, int],
) -> Structure:  # fmt: skip
    """Units that touch the same layers alike are a group."""
    order = {name: position for position, (name, _) in enumerate(module.named_modules())}
    alike: dict[Any, list[dict[tuple[str, Side], list[int]]]] = defaultdict(list)
    skipped: dict[str, str] = {}
    for unit in links.units():
        sides: dict[tuple[str, Side], list[int]] = defaultdict(list)
        for name, side, channel in unit:
            sides[name, side].append(channel)
        producers = [name for name, side in sides if side == "out" and _weighted(module, name, axes)]
        reason = next((blocked[place] for place in unit if place in blocked), None)
        if reason is None and not any(side == "in" and _weighted(module, name, axes) for name, side in sides):
            reason = "its channels are the network's answers"
        if not producers or reason is not None:
            skipped |= {name: reason for name in producers if reason is not None}
            continue
        alike[frozenset((place, len(channels)) for place, channels in sides.items())].append(sides)
    groups = []
    for members in alike.values():
        members.sort(key=lambda sides: min(sides.items(), key=lambda item: order.get(item[0][0], -1))[1])
        places = sorted(members[0], key=lambda place: (order.get(place[0], -1), place[1]))
        producers = [name for name, side in places if side == "out" and _weighted(module, name, axes)]
        if len(members) == 1:
            skipped |= dict.fromkeys(producers, "its channels can only go all at once")
            continue
        groups.append(
            Group(tuple(producers), {place: tuple(tuple(sorted(one[place])) for one in members) for place in places})
        )
    groups.sort(key=lambda group: order[group.name])
    return Structure(tuple(groups), sizes, axes, skipped)


def _weighted(module: nn.Module, name: str, axes: Mapping[str, int]) -> bool:
    return name not in axes and isinstance(module.get_submodule(name), WEIGHTED)


class _Links:
    """Sets of places, merged where one forces the other (union–find)."""

    def __init__(self) -> None:
        self._parent: dict[Place, Place] = {}

    def join(self, first: Place, *others: Place) -> None:
        for other in others:
            self._parent[self._top(other)] = self._top(first)
        self._top(first)

    def units(self) -> Iterator[list[Place]]:
        found: dict[Place, list[Place]] = defaultdict(list)
        for place in list(self._parent):
            found[self._top(place)].append(place)
        yield from found.values()

    def _top(self, place: Place) -> Place:
        self._parent.setdefault(place, place)
        while self._parent[place] != place:
            self._parent[place] = self._parent[self._parent[place]]
            place = self._parent[place]
        return place
