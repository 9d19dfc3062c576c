"""The operations of a blueprint: a table of name -> maker.

A maker takes a node's options as keyword arguments and gives a `torch.nn` layer where techniques act on it or it holds
weights, else a plain function of tensors. The names of torch's own layers are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from paring.load import aten
from paring.load.arrays import ARRAYS
from paring.load.functions import FUNCTIONS
from paring.load.recurrent import RECURRENT

Maker = Callable[..., Any]


class Constant(nn.Module):
    """A tensor that the network holds: no arguments, always the same answer.

    Args:
        shape: of the tensor.
        dtype: `float32`, `int64`, ….
        trainable: whether it is a parameter; else a buffer.
    """

    value: Tensor

    def __init__(self, shape: Sequence[int], dtype: str = "float32", trainable: bool = False) -> None:
        super().__init__()
        empty = torch.zeros(tuple(shape), dtype=getattr(torch, dtype))
        if trainable:
            self.value = nn.Parameter(empty)
        else:
            self.register_buffer("value", empty)

    def forward(self) -> Tensor:
        """The tensor."""
        return self.value


def _function(function: Callable[..., Any]) -> Maker:
    """A maker for a function whose keyword arguments are the options."""
    return lambda **options: partial(function, **options) if options else function


def _concatenate(*tensors: Tensor, dim: int) -> Tensor:
    return torch.cat(tensors, dim)


def _reshape(x: Tensor, *, shape: Sequence[int]) -> Tensor:
    """To (batch, *shape)."""
    return x.reshape(x.shape[0], *shape)


_LAYERS = (
    "Conv1d", "Conv2d", "Conv3d", "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d", "Linear", "Embedding",
    "BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "LayerNorm", "GroupNorm", "RMSNorm", "Dropout",
    "ReLU", "ReLU6", "LeakyReLU", "PReLU", "ELU", "SELU", "GELU", "SiLU", "Sigmoid", "Tanh", "Softmax", "LogSoftmax",
    "Hardswish", "Hardsigmoid", "Softplus", "Softsign", "Mish", "Hardtanh", "CELU", "GLU", "LogSigmoid", "Hardshrink",
    "Softshrink", "Tanhshrink", "Threshold", "LocalResponseNorm",
    "MaxPool1d", "MaxPool2d", "MaxPool3d", "AvgPool1d", "AvgPool2d", "AvgPool3d",
    "AdaptiveAvgPool1d", "AdaptiveAvgPool2d", "AdaptiveAvgPool3d",
    "AdaptiveMaxPool1d", "AdaptiveMaxPool2d", "AdaptiveMaxPool3d",
)  # fmt: skip

OPERATIONS: dict[str, Maker] = {
    **{name: getattr(nn, name) for name in _LAYERS},
    "Constant": Constant,
    "add": _function(torch.add),
    "multiply": _function(torch.mul),
    "subtract": _function(torch.sub),
    "concatenate": _function(_concatenate),
    "permute": _function(torch.permute),
    "flatten": _function(torch.flatten),
    "reshape": _function(_reshape),
    "pad": _function(nn.functional.pad),
    "mean": _function(torch.mean),
    "aten": aten.make,
    "number": aten.number,
    "size": _function(aten.size),
    **{name: _function(function) for name, function in FUNCTIONS.items()},
    **{f"array.{name}": _function(function) for name, function in ARRAYS.items()},
    **RECURRENT,
}
