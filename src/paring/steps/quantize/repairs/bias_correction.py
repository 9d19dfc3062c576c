"""Empirical bias correction: rounded weights shift the mean of what a layer gives; its bias takes the shift back.

Nagel et al. 2019, arXiv:1906.04721, section 4.2 and appendix D: in the order of execution, each layer's bias gives up
the difference between the means of its output, before the activation, in the quantized and in the float network.
"""

from typing import ClassVar, Literal

import torch
from torch import Tensor

from paring.steps.quantize.repairs import Work, options
from paring.steps.quantize.repairs.walk import Walk


class BiasCorrection:
    """`bias_correction`. Contract: `paring.steps.quantize.repairs.Repair`."""

    moment: ClassVar[Literal["before", "after"]] = "after"

    def __init__(self, given: options.Plain) -> None:
        self.options = given

    def apply(self, work: Work) -> None:
        """Corrects every bias, those of layers in float too: their inputs have shifted."""
        walk = Walk(work)
        with work.context.progress.bar("bias correction", len(walk.places)) as advance:
            for place in walk:
                if place.layer.bias is not None:
                    bias = work.graph.get_parameter(place.layer.bias)
                    outputs = walk.quantized.through(place.layer.node)
                    axis = channel_axis(outputs[0], len(bias))
                    wanted = walk.float.through(place.reference.node)
                    shift = moments(wanted, axis)[0] - moments(outputs, axis)[0]
                    with torch.no_grad():
                        bias.add_(shift)
                    for output in outputs:
                        output.add_(along(shift, axis, output.ndim))
                advance(1, place.layer.name)
        work.notes.append("biases corrected by the samples' means")


def channel_axis(output: Tensor, channels: int) -> int:
    """Of a layer's output: 1 for images and sequences of channels, the last for matrices."""
    return 1 if output.ndim in (3, 4) and output.shape[1] == channels else output.ndim - 1


def moments(outputs: list[Tensor], axis: int) -> tuple[Tensor, Tensor]:
    """Mean and variance of each channel over all batches."""
    rows = [one.movedim(axis, 0).flatten(1).double() for one in outputs]
    count = sum(one.shape[1] for one in rows)
    mean = torch.stack([one.sum(1) for one in rows]).sum(0) / count
    variance = torch.stack([(one - mean[:, None]).square().sum(1) for one in rows]).sum(0) / count
    return mean.float(), variance.float()


def along(channels: Tensor, axis: int, dimensions: int) -> Tensor:
    """A value for each channel, shaped to broadcast with the layer's output."""
    return channels.reshape(*[1] * axis, -1, *[1] * (dimensions - axis - 1))
