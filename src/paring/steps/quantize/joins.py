"""Joins of tensors whose ranges differ widely: one scale for all would leave the narrow ones a few codes.

A join gives one tensor, and a tensor has one scale. Where what is joined leaves the network, or is taken apart again,
it is joined in float, so that each part keeps its own scale. Where layers with weights read it, their sums are what
counts: they stay integers if the noise of the one scale is small in every channel of theirs.
"""

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node

from paring.core.errors import ParingError
from paring.core.model import Model
from paring.core.quiet import quiet
from paring.core.step import Context
from paring.steps.quantize import graph
from paring.steps.quantize.annotate import COMPUTED, JOINED, MOVED, WEIGHTED, Annotator, layer_of
from paring.steps.quantize.calibrate import calibrate
from paring.steps.quantize.nodes import arguments

UNLIKE = 16.0  # a range that is so many times another leaves it 4 of 8 bits
QUIET = 100.0  # 20 dB: signal over noise, in energy, that a channel of a reading layer must keep
aten = torch.ops.aten


def calibrated(
    folded: GraphModule, marks: Annotator, model: Model, samples: int, context: Context, where: str
) -> tuple[GraphModule, str]:
    """The prepared graph with weights' scales known and activations observed; and what to know of the samples.

    Raises:
        ParingError: as `calibrate`; the targets have no float to join unlike ranges in.
    """
    spare = None
    if any(_joins(folded)):
        with quiet():  # torch warns of its own calls when it copies a graph
            spare = GraphModule(folded, deepcopy(folded.graph))
        spare.meta.update(folded.meta)
    prepared = graph.prepare(folded, marks)
    graph.fix_weights(prepared)
    watched = _watch(prepared)
    told = calibrate(prepared, model, samples, context, where)
    apart = _apart(prepared, watched)
    _unwatch(prepared, watched)
    if spare is None or not apart:
        return prepared, told
    if "float32" not in context.limits.activations:
        names = {node.name: layer_of(node) for node in spare.graph.nodes}
        raise ParingError(
            f"joins ranges that differ more than {UNLIKE:g}-fold, and the targets have one scale for them: the narrow "
            "ones would keep a few codes",
            f"{where}: {names[min(apart)]}",
            "let the network return them apart, or bring them to like ranges",
        )
    marks.keep_apart(apart)
    prepared = graph.prepare(spare, marks)
    graph.fix_weights(prepared)
    return prepared, calibrate(prepared, model, samples, context, where)


class Seen(nn.Module):
    """What passed: its extremes, and the mean of its squares."""

    def __init__(self) -> None:
        super().__init__()
        self.low = self.high = self.energy = 0.0
        self.count = 0

    def forward(self, x: Tensor) -> Tensor:
        """Passes on."""
        if not x.numel():  # a cache that holds nothing yet
            return x
        self.low, self.high = min(self.low, float(x.min())), max(self.high, float(x.max()))
        self.energy, self.count = self.energy + float(x.double().square().sum()), self.count + x.numel()
        return x


@dataclass(frozen=True)
class Part:
    """Something joined.

    Attributes:
        reach: its largest magnitude.
        energy: mean of its squares.
        width: how many places it takes along the axis; 0 where that is not fixed.
    """

    reach: float
    energy: float
    width: int


Watched = dict[Node, list[Node]]  # join -> for each input what watches it


def _joins(module: GraphModule) -> Iterator[Node]:
    return (node for node in module.graph.nodes if node.target in JOINED and len(node.all_input_nodes) > 1)


def _watch(prepared: GraphModule) -> Watched:
    found: Watched = {}
    for join in list(_joins(prepared)):
        observed = [one for one in join.all_input_nodes if graph.observes(one)]
        if len(observed) < len(join.all_input_nodes) or _wide(prepared, observed[0]):
            continue
        found[join] = []
        for one in observed:
            name = f"watched_{len(found)}_{len(found[join])}"
            prepared.add_submodule(name, Seen())
            with prepared.graph.inserting_before(join):
                found[join].append(prepared.graph.call_module(name, (one,)))
    prepared.recompile()
    return found


def _unwatch(prepared: GraphModule, watched: Watched) -> None:
    for nodes in watched.values():
        for node in nodes:
            prepared.graph.erase_node(node)
            prepared.delete_submodule(str(node.target))
    prepared.recompile()


def _apart(prepared: GraphModule, watched: Watched) -> set[str]:
    """Names of the nodes that are to stay in float."""
    found: set[str] = set()
    for join, nodes in watched.items():
        parts = [_part(prepared, join, node) for node in nodes]
        reaches = [one.reach for one in parts if one.reach > 0]
        if not reaches or max(reaches) <= UNLIKE * min(reaches):
            continue
        passing, readers, ends = _readers(join)
        noisy = {one for one in readers if not _quiet(prepared, join, one, parts)}
        if ends or noisy:
            found |= {one.name for one in (join, *passing, *noisy)}
    return found


def _readers(join: Node) -> tuple[list[Node], list[Node], bool]:
    """What passes the numbers of a join on; the layers with weights that read it; whether anything else does."""
    passing: list[Node] = []
    readers: list[Node] = []
    ends, waiting = False, [join]
    while waiting:
        for user in waiting.pop().users:
            if user.op == "call_module":  # an observer, or what watches
                waiting.append(user)
            elif user.target in WEIGHTED:
                readers += [user] if user not in readers else []
            elif user.target in COMPUTED | MOVED | JOINED:
                if user not in passing:
                    passing.append(user)
                    waiting.append(user)
            else:
                ends = True
    return passing, readers, ends


def _quiet(prepared: GraphModule, join: Node, reader: Node, parts: list[Part]) -> bool:
    """Whether every channel of a layer hears little of the rounding with one scale for all."""
    step = 2 * max(one.reach for one in parts) / 255
    shares = _shares(prepared, join, reader, parts)
    if shares is None:  # which weight meets which part is not known
        return False
    signal = sum(share * one.energy for share, one in zip(shares, parts, strict=True))
    noise = sum(shares) * step**2 / 12
    heard = noise > 0
    return bool((signal[heard] >= QUIET * noise[heard]).all())


def _shares(prepared: GraphModule, join: Node, reader: Node, parts: list[Part]) -> Any:
    """For each part, the squares of the weights that meet it, summed for each channel of the reader."""
    layer = next((one for one in graph.weighted(prepared) if one.node is reader), None)
    if layer is None or layer.axis != 0 or join.target is not aten.cat.default:
        return None
    linear = reader.target is aten.linear.default
    axes = join.meta["val"].ndim
    along = axes - 1 if linear and axes != 4 else 1
    total = sum(one.width for one in parts)
    if _axis(join) % axes != along or any(not one.width for one in parts):
        return None
    squares = prepared.get_parameter(layer.weight).detach().double().square()
    squares = squares.flatten(2).sum(2) if squares.ndim > 2 else squares
    rows, inside = squares.shape
    groups = arguments(reader)[6] if not linear and len(reader.args) > 6 else 1
    if inside * groups % total:
        return None
    spread = torch.zeros(rows, inside * groups, dtype=torch.double)
    for row in range(rows):
        first = row // (rows // groups) * inside
        spread[row, first : first + inside] = squares[row]
    times = inside * groups // total  # the places of a channel lie side by side where they were flattened
    return [one.sum(1) for one in torch.split(spread, [one.width * times for one in parts], 1)]


def _axis(join: Node) -> int:
    return int(arguments(join)[1]) if len(join.args) > 1 else 0


def _part(prepared: GraphModule, join: Node, node: Node) -> Part:
    seen: Any = prepared.get_submodule(str(node.target))
    source: Any = node
    while source.op == "call_module":  # observers
        source = source.args[0]
    value = source.meta.get("val")
    size = 0 if value is None or join.target is not aten.cat.default else value.shape[_axis(join)]
    width = size if isinstance(size, int) else 0
    return Part(max(-seen.low, seen.high), seen.energy / max(seen.count, 1), width)


def _wide(prepared: GraphModule, observer: Node) -> bool:
    return bool(getattr(prepared.get_submodule(str(observer.target)), "dtype", None) is torch.int16)
