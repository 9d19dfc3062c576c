"""Analytic bias correction: the shift that rounded weights cause, from batch norm's statistics and no data at all.

Nagel et al. 2019, arXiv:1906.04721, section 4.2.1 and appendix C: the shift of an output is E[ε x] = ε E[x] with ε the
weights' rounding error; x is a normal variable with batch norm's β and γ as mean and deviation, clipped by the
activation. Means pass through residual sums, zero padding (its border neglected) and averages.
"""

from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from torch.fx import GraphModule, Node
from torch.special import ndtr

from paring.steps.quantize import graph as graphs
from paring.steps.quantize.annotate import bounds
from paring.steps.quantize.repairs import Work, options
from paring.steps.quantize.repairs.equalize import SCALED
from paring.steps.quantize.repairs.patches import SUPPORTED, groups_of

aten = torch.ops.aten
_PASSING = {
    aten.pad.default, aten.constant_pad_nd.default, aten.avg_pool2d.default, aten.adaptive_avg_pool2d.default,
    aten.dropout.default, aten.clone.default, aten.contiguous.default, aten.mean.dim,
}  # fmt: skip
_FLATTENING = {aten.flatten.using_ints, aten.view.default, aten.reshape.default}
_RELU = {aten.relu.default, aten.relu_.default}
_RELU6 = {aten.relu6.default, aten.relu6_.default, aten.hardtanh.default, aten.hardtanh_.default}


class AnalyticBiasCorrection:
    """`bias_correction_analytic`. Contract: `paring.steps.quantize.repairs.Repair`."""

    moment: ClassVar[Literal["before", "after"]] = "after"

    def __init__(self, given: options.Plain) -> None:
        self.options = given

    def apply(self, work: Work) -> None:
        """Corrects the biases of layers whose inputs come from batch norm; the others are left alone, and named."""
        captured = graphs.capture(work.model, proven=False)  # before folding, with batch norm in it
        inputs = {node.name: node.all_input_nodes[0] for node in captured.graph.nodes if node.target in SUPPORTED}
        factors = {one.node.name: one.node.meta.get(SCALED) for one in graphs.weighted(work.folded)}
        floats = {one.node.name: one for one in graphs.weighted(work.folded)}
        left = []
        for layer in graphs.weighted(work.graph):
            if layer.observer is None or layer.bias is None:
                continue
            mean = expected(captured, inputs[layer.node.name], factors) if layer.node.name in inputs else None
            weight = work.graph.get_parameter(layer.weight)
            groups = groups_of(layer.node)
            if mean is None or len(mean) != weight.shape[1] * groups:
                left.append(layer.name)
                continue
            known: Any = work.graph.get_submodule(layer.observer)
            with torch.no_grad():
                error = known.rounded(weight) - work.folded.get_parameter(floats[layer.node.name].weight)
                by_channel = error.flatten(2).sum(2) if error.ndim > 2 else error
                of_group = by_channel.reshape(groups, len(weight) // groups, -1)
                shift = torch.bmm(of_group, mean.reshape(groups, -1, 1)).flatten()
                work.graph.get_parameter(layer.bias).sub_(shift)
        work.notes.append("biases corrected from batch norm's statistics")
        if left:
            work.notes.append(f"no batch norm tells the mean of what {', '.join(left)} is given")


def expected(captured: GraphModule, node: Node, factors: dict[str, Tensor | None]) -> Tensor | None:
    """The mean of each channel of a node's value; None where it is not known.

    Args:
        captured: the graph with batch norm in it.
        node: in that graph.
        factors: name of a layer's node -> what equalization multiplied its output channels by.
    """
    target: Any = node.target
    source = node.all_input_nodes[0] if node.all_input_nodes else None
    if source is None:
        return None
    if target is aten.batch_norm.default:
        return _normal(captured, node, factors)[0]
    if target in _RELU | _RELU6 and source.target is aten.batch_norm.default:
        return clipped_mean(*_normal(captured, source, factors), *bounds(node))
    if target in {aten.add.Tensor, aten.add_.Tensor} and len(node.all_input_nodes) == 2:
        means = [expected(captured, one, factors) for one in node.all_input_nodes]
        return means[0] + means[1] if means[0] is not None and means[1] is not None else None
    if target in _PASSING or (target in _FLATTENING and tuple(source.meta["val"].shape[2:]) in ((), (1, 1))):
        return expected(captured, source, factors)
    return None


def clipped_mean(mean: Tensor, deviation: Tensor, low: float, high: float) -> Tensor:
    """E[clip(x, low, high)] of a normal variable (equations 38 and 39 of the paper's appendix)."""
    deviation = deviation.clamp_min(1e-12)
    start, end = (low - mean) / deviation, (high - mean) / deviation
    inside = mean * (ndtr(end) - ndtr(start)) + deviation * (_density(start) - _density(end))
    above = high * ndtr(-end) if high != torch.inf else torch.zeros_like(mean)
    found: Tensor = low * ndtr(start) + inside + above
    return found


def _density(x: Tensor) -> Tensor:
    found: Tensor = torch.exp(-x.square() / 2) / (2 * torch.pi) ** 0.5
    return found


def _normal(captured: GraphModule, node: Node, factors: dict[str, Tensor | None]) -> tuple[Tensor, Tensor]:
    """Mean and deviation of what a batch norm gives."""
    gamma, beta = (
        captured.get_parameter(str(one.target)).detach() if isinstance(one, Node) else None for one in node.args[1:3]
    )
    running: Any = captured.get_buffer(str(node.args[3].target))  # type: ignore[union-attr]
    deviation = torch.ones_like(running) if gamma is None else gamma.abs()
    mean = torch.zeros_like(running) if beta is None else beta
    factor = factors.get(node.all_input_nodes[0].name)
    return (mean, deviation) if factor is None else (mean * factor, deviation * factor)
