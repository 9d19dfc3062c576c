"""Scales wide enough for what the kernels count in: int32 sums with the bias in them, and bounded factors behind them.

A kernel adds the bias to its sum as round(b / (S_in S_w)) in int32 and multiplies with S_in S_w / S_out (Jacob et al.
2018, arXiv:1712.05877, section 2.2). The weights of a channel that is all but dead have so small a scale that its bias
does not fit; a wider scale loses nothing there, as such weights reach no code of the output.
"""

from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from paring.steps.quantize import graph
from paring.steps.quantize.annotate import fused_activation
from paring.steps.quantize.observers import KnownScales

LARGEST = 2.0**30  # a bias in units of the sum: what is left of int32 takes the products
SMALLEST = 2.0**-30  # factor from the sum's units to the output's; the kernels' lie between 2⁻³² and 256
WIDEST = 128.0
TOLD = 5  # layers that are named


def widen(prepared: GraphModule) -> str:
    """Widens the scales of weights, in place, until every bias fits.

    Args:
        prepared: with known scales.

    Returns:
        A word on channels that give the same whatever they are given; empty if there are none.
    """
    constant: dict[str, int] = {}
    for layer in graph.weighted(prepared):
        given, known = _known(prepared, layer.node.args[0]), _known(prepared, layer.node.args[1])
        if given is None or known is None:
            continue
        weight = prepared.get_parameter(layer.weight).detach()
        step = float(given.scale)
        bias = torch.zeros(1) if layer.bias is None else prepared.get_parameter(layer.bias).detach().abs()
        least = bias / (step * LARGEST)
        after = _output(prepared, layer.node)
        if after is not None:
            out = float(after.scale)
            least = least.clamp_min(out * SMALLEST / step)
            reach = weight.abs().movedim(layer.axis, 0).flatten(1).sum(1) * step * (given.quant_max - given.quant_min)
            if dead := int((reach < out / 2).sum()):
                constant[layer.name] = dead
        known.scale = torch.maximum(known.scale, _shaped(least, known.scale))
        if after is not None:
            after.scale = after.scale.clamp_min(step * float(known.scale.max()) / WIDEST)
    if not constant:
        return ""
    told = [f"{dead} of {layer}" for layer, dead in list(constant.items())[:TOLD]]
    more = f" and of {len(constant) - TOLD} more layers" if len(constant) > TOLD else ""
    return f"; channels that give one value whatever comes in, and could be pruned: {', '.join(told)}{more}"


def _shaped(least: Tensor, scale: Tensor) -> Tensor:
    """The smallest scales of channels, for each scale that there is."""
    if scale.numel() in (1, least.numel()) or least.numel() == 1:
        return (least.amax() if scale.numel() == 1 else least.expand(scale.numel())).reshape(-1).expand_as(scale)
    return least.reshape(-1, scale.numel()).amax(0)  # one scale for the like channels of all groups


def _known(prepared: GraphModule, node: Any) -> KnownScales | None:
    found = prepared.get_submodule(str(node.target)) if isinstance(node, Node) and graph.observes(node) else None
    return found if isinstance(found, KnownScales) else None


def _output(prepared: GraphModule, layer: Node) -> KnownScales | None:
    """The scale of what a layer gives behind its fused activation."""
    last = fused_activation(layer) or layer
    found = (_known(prepared, one) for one in last.users)
    return next((one for one in found if one is not None), None)
