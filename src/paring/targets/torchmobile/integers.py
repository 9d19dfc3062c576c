"""A graph of quantizations becomes one of PyTorch's quantized operators, with the same scales.

An activation's codes are uint8, 128 more than the model's: exact, for rounding comes before the zero point is added.
What stands between a dequantization and a quantization runs on codes where PyTorch has a kernel for it, and in float
where it has none, or none that gives the scale which the model has.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch.fx import GraphModule, Node

from paring.targets.folded import fold_weights
from paring.targets.torchmobile.kernels import FLOATS, SCALE, Scale, aten, codes_of, kernel_for, kernels, with_scales
from paring.targets.torchmobile.layers import constant, layer_for

SHIFT = 128  # from a signed code to the unsigned one
_LARGEST = 255

_QUANTIZE = with_scales.quantize_per_tensor.default
# what gives codes another place or shape, or is exact on them: it may stand in front of a dequantization
_MOVES = {
    aten.view.default, aten.reshape.default, aten.flatten.using_ints, aten.permute.default, aten.transpose.int,
    aten.slice.Tensor, aten.select.int, aten.squeeze.dim, aten.squeeze.dims, aten.unsqueeze.default, aten.unflatten.int,
    aten.expand.default, aten.clone.default, aten.contiguous.default, aten.dropout.default, aten.max_pool2d.default,
    aten.relu.default, aten.relu_.default,
}  # fmt: skip
_Bounds = tuple[float | None, float | None]
_BOUNDS: dict[Any, Callable[..., _Bounds]] = {
    aten.relu.default: lambda: (0.0, None),
    aten.relu_.default: lambda: (0.0, None),
    aten.relu6.default: lambda: (0.0, 6.0),
    aten.hardtanh.default: lambda low=-1.0, high=1.0: (low, high),
    aten.hardtanh_.default: lambda low=-1.0, high=1.0: (low, high),
    aten.clamp.default: lambda low=None, high=None: (low, high),
    aten.clamp_min.default: lambda low: (low, None),
}


def on_codes(graph: GraphModule) -> None:
    """Rewrites, in place, a graph of `quantized_decomposed` operators with int8 activations.

    Every node that gives codes then has their scale in its `meta`.
    """
    fold_weights(graph)
    for node in list(graph.graph.nodes):
        with graph.graph.inserting_before(node):
            if node.target is _QUANTIZE:
                _replace(node, _codes(graph, node), _scale(node))
            elif "dequantize_per_" in str(node.target):
                stored = node.args[0].op == "get_attr"
                codes = _stored(graph, node) if stored else node.args[0]
                _replace(node, graph.graph.call_function(FLOATS, (codes,)))
            elif node.target in _MOVES and not _leaps(node) and (given := codes_of(node.args[0])) is not None:
                moved = graph.graph.call_function(node.target, (given, *node.args[1:]), node.kwargs)
                moved.meta = {**node.meta, SCALE: given.meta[SCALE]}
                _replace(node, graph.graph.call_function(FLOATS, (moved,)))
    graph.graph.eliminate_dead_code()


def _leaps(node: Node) -> bool:
    """Whether a maximum over windows passes over values, which QNNPACK refuses."""
    if node.target is not aten.max_pool2d.default:
        return False
    window, step = (list(one) * 2 for one in (node.args[1], [*node.args[2:3], []][0]))  # type: ignore[arg-type]
    return any(passed > size for passed, size in zip(step[:2], window[:2], strict=False))


def _replace(old: Node, new: Node, scale: Scale | None = None) -> None:
    new.meta = {**old.meta, **new.meta, **({} if scale is None else {SCALE: scale})}
    old.replace_all_uses_with(new)
    old.graph.erase_node(old)


def _scale(node: Node) -> Scale:
    scale, zero_point = node.args[1:3]
    return float(scale), int(zero_point) + SHIFT  # type: ignore[arg-type]


def _codes(graph: GraphModule, quantize: Node) -> Node:
    """A node that gives the codes which a quantization gives."""
    source, scale = quantize.all_input_nodes[0], _scale(quantize)
    given, found = codes_of(source), None
    if given is not None and given.meta[SCALE] == scale:
        return given
    if all(user.target is _QUANTIZE for user in source.users):
        found = _computed(graph, source, scale) or _limited(graph, source, scale)
    return found or graph.graph.call_function(aten.quantize_per_tensor.default, (source, *scale, torch.quint8))


def _computed(graph: GraphModule, source: Node, scale: Scale, relu: bool = False) -> Node | None:
    """An operator on codes in place of one on floats; None where PyTorch has none."""
    call = layer_for(graph, source, scale, relu) or kernel_for(source, scale, relu)
    if call is None:
        return None
    node = graph.graph.call_function(*call)
    node.meta = dict(source.meta)
    return node


def _limited(graph: GraphModule, limit: Node, scale: Scale) -> Node | None:
    """An operator whose values are limited behind it, by ReLU or the like; the range of the codes may imply that."""
    source = limit.args[0] if limit.target in _BOUNDS and not limit.kwargs else None
    if not isinstance(source, Node) or len(source.users) > 1:
        return None
    low, high = _needed(_BOUNDS[limit.target](*limit.args[1:]), scale)
    computed = _computed(graph, source, scale, relu=low == 0)
    if computed is None:
        return None
    if low == 0 and "_relu" in str(computed.target):
        low = None
    if low is high is None:
        return computed
    # PyTorch clips codes on both sides or not at all: a bound that is not needed is that of the codes
    ends = (-scale[1] * scale[0], (255 - scale[1]) * scale[0])
    bounds = (ends[0] if low is None else low, ends[1] if high is None else high)
    return graph.graph.call_function(kernels.clamp.default, (computed, *bounds))


def _needed(bounds: _Bounds, scale: Scale) -> _Bounds:
    """Without those that lie outside of what the codes can say."""
    low, high = (None if one is None else round(one / scale[0]) + scale[1] for one in bounds)
    return bounds[0] if low is not None and low > 0 else None, bounds[
        1
    ] if high is not None and high < _LARGEST else None


def _stored(graph: GraphModule, dequantize: Node) -> Node:
    """A constant of codes as a quantized tensor, which knows its scales."""
    given: list[Any] = [constant(graph, one) if isinstance(one, Node) else one for one in dequantize.args]
    codes, scales, zero_points = given[:3]
    if isinstance(scales, torch.Tensor) and scales.numel() > 1:
        held = torch._make_per_channel_quantized_tensor(codes, scales.double(), zero_points.long(), given[3])
    else:
        held = torch._make_per_tensor_quantized_tensor(codes, float(scales), int(zero_points))
    name = f"{dequantize.name}_stored"
    graph.register_buffer(name, held)
    return graph.graph.get_attr(name)
