"""Batch norm re-estimated, where it is folded already: each layer's output gets the float network's statistics back.

Sun et al. 2019, "Hybrid 8-bit Floating Point (HFP8) Training and Inference for Deep Neural Networks", section 3.2, and
Hubara et al. 2021, arXiv:2006.10518, section 5, tune batch norm's statistics anew after quantization. With batch norm
folded, a new mean is a new bias, and a new variance is a factor on the scale of each output channel's weight: the codes
stay as they are.
"""

from typing import ClassVar, Literal

import torch

from paring.steps.quantize.repairs import Work, options
from paring.steps.quantize.repairs.bias_correction import along, channel_axis, moments
from paring.steps.quantize.repairs.walk import Walk

_FURTHEST = 1.5  # a factor beyond this comes of a channel that hardly varies


class Reestimate:
    """`reestimate`. Contract: `paring.steps.quantize.repairs.Repair`."""

    moment: ClassVar[Literal["before", "after"]] = "after"

    def __init__(self, given: options.Plain) -> None:
        self.options = given

    def apply(self, work: Work) -> None:
        """Matches mean and variance of every output channel; the mean alone where a weight has a single scale."""
        walk = Walk(work)
        with work.context.progress.bar("re-estimate", len(walk.places)) as advance:
            for place in walk:
                if place.layer.bias is not None and place.layer.observer is not None:
                    bias = work.graph.get_parameter(place.layer.bias)
                    outputs = walk.quantized.through(place.layer.node)
                    axis = channel_axis(outputs[0], len(bias))
                    mean, variance = moments(outputs, axis)
                    wanted, wanted_variance = moments(walk.float.through(place.reference.node), axis)
                    known, weight = walk.scales(place.layer), work.graph.get_parameter(place.layer.weight)
                    factor = torch.ones_like(mean)
                    if known.per_channel:
                        factor = (wanted_variance / variance.clamp_min(1e-20)).sqrt()
                        factor = torch.where((factor < _FURTHEST) & (factor > 1 / _FURTHEST), factor, 1.0)
                    with torch.no_grad():
                        weight.mul_(along(factor, place.layer.axis, weight.ndim))
                        known.scale = known.scale * factor.to(known.scale.dtype)
                        bias.copy_((bias - mean) * factor + wanted)
                    for output in outputs:
                        output.sub_(along(mean, axis, output.ndim)).mul_(along(factor, axis, output.ndim))
                        output.add_(along(wanted, axis, output.ndim))
                advance(1, place.layer.name)
        work.notes.append("means and variances re-estimated")
