"""Cross-layer equalization: channels that are alike in range lose less when they share a scale.

Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias Correction", arXiv:1906.04721, section
4.1: for f with f(s x) = s f(x), W₂ f(W₁ x + b₁) = (W₂ S) f(S⁻¹ W₁ x + S⁻¹ b₁), and sᵢ = √(r₁ᵢ / r₂ᵢ) (equation 11)
makes the ranges of each channel in both weights equal. ReLU6 is no such f, yet channels that never meet its limit do
not feel it: the calibration samples show which, and they are scaled only as far as they stay below it.
"""

from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from paring.steps.quantize.annotate import bounds
from paring.steps.quantize.graph import Weighted, weighted
from paring.steps.quantize.repairs import Work, options
from paring.steps.quantize.repairs.patches import SUPPORTED, groups_of
from paring.steps.quantize.repairs.walk import Execution, parameter

aten = torch.ops.aten
_ANY_SHAPE = {
    aten.relu.default, aten.relu_.default, aten.leaky_relu.default, aten.leaky_relu_.default, aten.dropout.default,
    aten.clone.default, aten.contiguous.default,
}  # fmt: skip
_OF_IMAGES = {aten.max_pool2d.default, aten.avg_pool2d.default, aten.adaptive_avg_pool2d.default}
_CLIPPING = {aten.relu6.default, aten.relu6_.default, aten.hardtanh.default, aten.hardtanh_.default}
_FLATTENING = {aten.flatten.using_ints, aten.view.default, aten.reshape.default, aten.squeeze.dims, aten.mean.dim}
SCALED = "equalized"  # in a layer's node.meta: what its output channels were multiplied by


@dataclass(frozen=True)
class Pair:
    """Two layers with nothing between them that a scale of a channel does not pass through.

    Attributes:
        first, second: in the order of execution; only `second` uses what `first` gives.
        limit: of a ReLU6 between them; None where nothing is clipped.
    """

    first: Weighted
    second: Weighted
    limit: float | None


class Equalize:
    """`equalize`. Contract: `paring.steps.quantize.repairs.Repair`."""

    moment: ClassVar[Literal["before", "after"]] = "before"

    def __init__(self, given: options.Equalize) -> None:
        self.options = given

    def apply(self, work: Work) -> None:
        """Scales the channels of every pair of layers."""
        found = pairs(work.graph)
        maxima = largest(work, [pair.first for pair in found if pair.limit is not None])
        equalize(work.graph, found, maxima, self.options.sweeps, self.options.margin)
        work.notes.append(f"{len(found)} pairs of layers equalized")


def pairs(graph: GraphModule) -> list[Pair]:
    """The pairs of layers that can be equalized, in the order of execution."""
    layers = {one.node: one for one in weighted(graph)}
    paths = [one.weight for one in layers.values()]
    usable = {node for node, one in layers.items() if node.target in SUPPORTED and paths.count(one.weight) == 1}
    found = []
    for first in (layers[node] for node in layers if node in usable):
        limit, node = None, first.node
        while len(node.users) == 1:
            node = next(iter(node.users))
            if node in usable:
                if node.all_input_nodes[0] is not first.node or node.args[0] is first.node:
                    found.append(Pair(first, layers[node], limit))
                break
            if node.target in _CLIPPING:
                clipped = _limit(node)
                if clipped is None:
                    break
                limit = clipped if limit is None else min(limit, clipped)
            elif not _passes(node, first.node):
                break
    return found


def largest(work: Work, layers: list[Weighted]) -> dict[str, Tensor]:
    """Name of a layer's node -> the largest value of each output channel over the calibration samples."""
    found: dict[str, Tensor] = {}
    if not layers:
        return found
    wanted = {one.node for one in layers}
    with work.context.progress.bar("equalize", work.samples) as advance:
        for batch in work.batches():
            run = Execution(work.graph, [batch])
            while wanted - run.done:
                node = run.step()
                if node in wanted:
                    (value,) = run.value(node)
                    top = value.movedim(_axis(value), 0).flatten(1).amax(1)
                    found[node.name] = torch.maximum(found.get(node.name, top), top)
            advance(len(batch[0]), "")
    return found


def equalize(graph: GraphModule, found: list[Pair], maxima: dict[str, Tensor], sweeps: int, margin: float) -> None:
    """Scales weights and biases in place.

    Args:
        graph: folded.
        found: as `pairs` gives them.
        maxima: as `largest` gives them, of the pairs with a limit.
        sweeps: how often all pairs are gone through.
        margin: share of the limit up to which a channel that never met it may be scaled.
    """
    maxima = dict(maxima)
    for _ in range(sweeps):
        for pair in found:
            name = pair.first.node.name
            first, second = graph.get_parameter(pair.first.weight), graph.get_parameter(pair.second.weight)
            columns = _columns(second, pair, len(first))
            ranges = first.abs().flatten(1).amax(1), columns.abs().amax((1, 3)).flatten()
            usable = (ranges[0] > 0) & (ranges[1] > 0)
            factor = torch.where(usable, (ranges[1] / ranges[0].clamp_min(1e-30)).sqrt(), 1.0)
            if pair.limit is not None:
                room = (margin * pair.limit / maxima[name].clamp_min(1e-30)).clamp_min(1.0)
                factor = torch.where(maxima[name] < pair.limit, torch.minimum(factor, room), 1.0)
                maxima[name] = torch.where(maxima[name] > 0, maxima[name] * factor, maxima[name])
            bias = parameter(graph, pair.first.bias)
            first.mul_(factor.reshape(-1, *[1] * (first.ndim - 1)))
            if bias is not None:
                bias.mul_(factor)
            columns.div_(factor.reshape(columns.shape[0], 1, columns.shape[2], 1))
            meta = pair.first.node.meta
            meta[SCALED] = meta.get(SCALED, torch.ones_like(factor)) * factor


def _columns(weight: Tensor, pair: Pair, channels: int) -> Tensor:
    """A view of the second weight: (groups, outputs of a group, input channels of a group, values of each)."""
    groups = groups_of(pair.second.node)
    return weight.view(groups, len(weight) // groups, channels // groups, -1)


def _passes(node: Node, first: Node) -> bool:
    """Whether scaled channels come out of the node scaled, and in their places."""
    target: Any = node.target
    image = bool(first.meta["val"].ndim == 4)
    if target in _ANY_SHAPE:
        return True
    if target in _OF_IMAGES:
        return image
    if target in {aten.pad.default, aten.constant_pad_nd.default}:
        mode, value = (*node.args[2:], "constant", None)[:2] if target is aten.pad.default else ("constant", 0)
        fill = node.args[2] if target is aten.constant_pad_nd.default and len(node.args) > 2 else value
        return image and mode == "constant" and not fill
    if target in _FLATTENING and image:
        before, after = node.all_input_nodes[0].meta["val"].shape, node.meta["val"].shape
        if target is aten.mean.dim:
            dims: Any = node.args[1]
            return sorted(dim % 4 for dim in dims) == [2, 3]
        return bool(after[1:] == (prod(before[1:]),) or after[:2] == before[:2])
    return False


def _limit(node: Node) -> float | None:
    """Where the activation clips from above; None if it also clips elsewhere than at zero."""
    low, high = bounds(node)
    return high if low == 0 else None


def _axis(value: Tensor) -> int:
    return 1 if value.ndim in (3, 4) else value.ndim - 1
