"""From a batch to the answers of a module, on its device and in its memory layout."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from paring.core.model import Model


def placed(inputs: Mapping[str, Tensor], device: torch.device, channels_last: bool = True) -> dict[str, Tensor]:
    """Inputs on `device`, images with their channels last in memory if asked."""
    laid = {True: torch.channels_last, False: torch.preserve_format}
    return {
        name: tensor.to(device, non_blocking=True, memory_format=laid[channels_last and tensor.ndim == 4])
        for name, tensor in inputs.items()
    }


def forward(model: Model, module: nn.Module, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What `module` answers, named and fed as the outputs and inputs of `model`; float32 for the loss's sake."""
    answer = module(*(inputs[spec.name] for spec in model.inputs))
    answers = answer if isinstance(answer, tuple) else (answer,)
    return {spec.name: tensor.float() for spec, tensor in zip(model.outputs, answers, strict=True)}


def channels_last_is_safe(module: nn.Module, device: torch.device) -> bool:
    """Whether a network can be trained with its images' channels last in memory.

    On a CPU, torch 2.13 writes past its buffers in the backward pass of a strided 1×1 convolution of so few channels.
    """
    return device.type != "cpu" or not any(
        isinstance(part, nn.Conv2d)
        and part.groups == 1
        and part.in_channels < 8
        and set(part.kernel_size) == {1}
        and set(part.stride) != {1}
        for part in module.modules()
    )


def lay_out(module: nn.Module, memory_format: torch.memory_format) -> None:
    """Puts image-like parameters in one order in memory, in place.

    Always by a copy: where two orders are the same bytes, `Module.to` keeps the strides that it finds, and the
    strides choose the kernel; a model read from a file would then train to other bits than the one it was saved from.
    """
    for parameter in module.parameters():
        if parameter.ndim == 4:
            parameter.data = torch.empty_like(parameter, memory_format=memory_format).copy_(parameter.data)
