"""PyTorch's kernels on uint8 codes, in place of operators on floats."""

from collections.abc import Callable
from typing import Any

import torch
from torch.fx import Node

aten, kernels, with_scales = torch.ops.aten, torch.ops.quantized, torch.ops.quantized_decomposed

FLOATS = aten.dequantize.self  # of codes
SCALE = "scale"  # in the `meta` of every node that gives codes

Scale = tuple[float, int]
"""Scale and zero point of uint8 codes."""

Call = tuple[Any, tuple[Any, ...]]
"""A kernel and its arguments."""

_RATIOS = 2.0**-14, 2.0**8  # of an addend's scale to the sum's: what QNNPACK's kernel takes


def codes_of(value: Any) -> Node | None:
    """The node that gives the codes of a value; None if it is computed in float, or a constant."""
    if isinstance(value, Node) and value.target is FLOATS:
        (codes,) = value.all_input_nodes
        return codes if SCALE in codes.meta else None
    return None


def kernel_for(source: Node, scale: Scale, relu: bool) -> Call | None:
    """What computes an operator on the codes of its inputs; None where PyTorch has nothing.

    Args:
        source: the operator on floats.
        scale: of the codes that it is to give.
        relu: whether its values are to end at 0; not every kernel can do so.
    """
    found = _KERNELS.get(source.target)
    return None if found is None else found(source, scale, relu)


def _sum(source: Node, scale: Scale, relu: bool) -> Call | None:
    """Of tensors of one shape: QNNPACK repeats none."""
    given = [codes_of(one) for one in source.args]
    parts = [one for one in given if one is not None]
    ratios = [one.meta[SCALE][0] / scale[0] for one in parts]
    shapes = {tuple(one.meta["val"].shape) for one in source.all_input_nodes}
    if None in given or source.kwargs or len(shapes) > 1 or not all(_RATIOS[0] <= one < _RATIOS[1] for one in ratios):
        return None
    return (kernels.add_relu if relu else kernels.add).default, (*parts, *scale)


def _product(source: Node, scale: Scale, relu: bool) -> Call | None:
    given = [codes_of(one) for one in source.args]
    return None if None in given else ((kernels.mul_relu if relu else kernels.mul).default, (*given, *scale))


def _concatenation(source: Node, scale: Scale, _: bool) -> Call | None:
    parts, *dim = source.args
    given = [codes_of(one) for one in parts]  # type: ignore[union-attr]
    return None if None in given else (kernels.cat.default, (given, *(dim or [0]), *scale))


def _with(kernel: Any, options: Callable[..., tuple[Any, ...]]) -> Callable[[Node, Scale, bool], Call | None]:
    """A kernel of one input, whose arguments are `options` of the scale and the operator's own."""

    def call(source: Node, scale: Scale, _: bool) -> Call | None:
        given = codes_of(source.args[0])
        return None if given is None else (kernel, (given, *options(scale, *source.args[1:])))

    return call


def _keeps(source: Node, scale: Scale, _: bool) -> Call | None:
    """PyTorch's operator itself, which gives codes of its input's scale."""
    given = codes_of(source.args[0])
    fits = given is not None and given.meta[SCALE] == scale and not source.kwargs
    return (source.target, (given, *source.args[1:])) if fits else None


def _pad(source: Node, scale: Scale, relu: bool) -> Call | None:
    """With a value, or as in a mirror: PyTorch has no other ways on codes."""
    mode = source.args[2] if len(source.args) > 2 else "constant"
    return _keeps(source, scale, relu) if mode in {"constant", "reflect"} else None


def _average(source: Node, scale: Scale, relu: bool) -> Call | None:
    """QNNPACK divides by the size of the window, whatever lies in it."""
    given: list[Any] = list(source.args[3:])
    defaults: list[Any] = [[0], False, True, None]
    padding, _, counted, divisor = given + defaults[len(given) :]
    plain = divisor is None and (counted or not any(padding))
    return _keeps(source, scale, relu) if plain else None


def _gives(own: Scale) -> Callable[[Node, Scale, bool], Call | None]:
    """PyTorch's operator itself, which gives codes of one scale, whatever its input has."""

    def call(source: Node, scale: Scale, _: bool) -> Call | None:
        given = codes_of(source.args[0])
        return (source.target, (given,)) if given is not None and scale == own else None

    return call


_HARDSWISH = _with(kernels.hardswish.default, lambda scale: scale)
_KERNELS: dict[Any, Callable[[Node, Scale, bool], Call | None]] = {
    aten.add.Tensor: _sum,
    aten.add_.Tensor: _sum,
    aten.mul.Tensor: _product,
    aten.mul_.Tensor: _product,
    aten.cat.default: _concatenation,
    aten.hardswish.default: _HARDSWISH,
    aten.hardswish_.default: _HARDSWISH,
    aten.sigmoid.default: _with(kernels.sigmoid.default, lambda scale: scale),
    aten.leaky_relu.default: _with(
        kernels.leaky_relu.default, lambda scale, slope=0.01: (slope, False, *scale)
    ),
    aten.elu.default: _with(kernels.elu.default, lambda scale, *options: (*scale, *options)),
    aten.hardsigmoid.default: _gives((1 / 256, 0)),
    aten.tanh.default: _gives((2 / 256, 128)),
    **dict.fromkeys(
        (
            aten.mean.dim, aten.adaptive_avg_pool2d.default, aten.hardtanh.default,
            aten.hardtanh_.default, aten.constant_pad_nd.default,
        ),
        _keeps,
    ),
    aten.pad.default: _pad,
    aten.avg_pool2d.default: _average,
}  # fmt: skip
