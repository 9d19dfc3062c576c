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

aten, kernels, with_scales = torch.ops.aten, torch.ops.quantized, torch.ops.quantized_decomposed
SHIFT = 128  # from a signed code to the unsigned one

Scale = tuple[float, int]
"""Scale and zero point of uint8 codes."""

_QUANTIZE = with_scales.quantize_per_tensor.default
_FLOATS = aten.dequantize.self
# what gives codes another place or shape, or is exact on them
_MOVES = {
    aten.view.default, aten.reshape.default, aten.flatten.using_ints, aten.permute.default, aten.transpose.int,
    aten.slice.Tensor, aten.select.int, aten.squeeze.dim, aten.squeeze.dims, aten.unsqueeze.default,
    aten.expand.default, aten.clone.default, aten.contiguous.default, aten.dropout.default, aten.max_pool2d.default,
    aten.relu.default, aten.relu_.default,
}  # fmt: skip
# what has a kernel on codes that keeps the scale of its input
_KEEPS = {
    aten.mean.dim, aten.avg_pool2d.default, aten.adaptive_avg_pool2d.default, aten.hardtanh.default,
    aten.hardtanh_.default, aten.clamp.default, aten.constant_pad_nd.default, aten.pad.default,
}  # fmt: skip
# what has a kernel that gives the one scale below, whatever its input has
_GIVES = {aten.hardsigmoid.default: (1 / 256, 0), aten.tanh.default: (2 / 256, 128)}
_BOUNDS: dict[Any, Callable[..., tuple[float | None, float | None]]] = {
    aten.relu.default: lambda: (0.0, None),
    aten.relu_.default: lambda: (0.0, None),
    aten.hardtanh.default: lambda low=-1.0, high=1.0: (low, high),
    aten.hardtanh_.default: lambda low=-1.0, high=1.0: (low, high),
    aten.relu6.default: lambda: (0.0, 6.0),
    aten.clamp.default: lambda low=None, high=None: (low, high),
    aten.clamp_min.default: lambda low: (low, None),
}
_RATIOS = 2.0**-14, 2.0**8  # of an addend's scale to the sum's, that QNNPACK's kernel takes


def on_codes(graph: GraphModule) -> None:
    """Rewrites, in place, a graph of `quantized_decomposed` operators with int8 activations.

    Every node that gives codes has their scale in `meta["scale"]`.
    """
    fold_weights(graph)
    for node in list(graph.graph.nodes):
        with graph.graph.inserting_before(node):
            if node.target is _QUANTIZE:
                _put(node, _codes(graph, node), _scale(node))
            elif "dequantize_per_" in str(node.target):
                if node.args[0].op == "get_attr":
                    _store(graph, node)
                else:
                    _put(node, graph.graph.call_function(_FLOATS, (node.args[0],)))
            elif node.target in _MOVES and (given := codes_of(node.args[0])) is not None:
                moved = graph.graph.call_function(node.target, (given, *node.args[1:]), node.kwargs)
                moved.meta = {**node.meta, "scale": given.meta["scale"]}
                _put(node, graph.graph.call_function(_FLOATS, (moved,)))
    graph.graph.eliminate_dead_code()


def codes_of(node: Any) -> Node | None:
    """The node that gives the codes of these values; None if they are computed in float, or a constant."""
    if isinstance(node, Node) and node.target is _FLOATS and "scale" in node.args[0].meta:  # type: ignore[union-attr]
        return node.args[0]  # type: ignore[return-value]
    return None


def _put(old: Node, new: Node, scale: Scale | None = None) -> None:
    """Puts a node in another one's place."""
    new.meta = {**old.meta, **new.meta} if "nn_module_stack" in new.meta else dict(old.meta)
    if scale is not None:
        new.meta["scale"] = scale
    old.replace_all_uses_with(new)
    old.graph.erase_node(old)


def _scale(node: Node) -> Scale:
    scale, zero_point = node.args[1:3]
    return float(scale), int(zero_point) + SHIFT  # type: ignore[arg-type]


def _codes(graph: GraphModule, quantize: Node) -> Node:
    """A node that gives the codes which a quantization gives."""
    source, scale = quantize.args[0], _scale(quantize)
    assert isinstance(source, Node)
    given = codes_of(source)
    if given is not None and given.meta["scale"] == scale:
        return given
    found = None
    if all(user.target is _QUANTIZE for user in source.users):
        found = _computed(graph, source, scale) or _limited(graph, source, scale)
    return found or graph.graph.call_function(aten.quantize_per_tensor.default, (source, *scale, torch.quint8))


def _limited(graph: GraphModule, limit: Node, scale: Scale) -> Node | None:
    """An operator whose values are limited behind it, by ReLU or the like; the range of the codes may imply that."""
    if limit.target not in _BOUNDS or limit.kwargs:
        return None
    source: Any = limit.args[0]
    low, high = _BOUNDS[limit.target](*limit.args[1:])
    low = None if low is None or _code(low, scale) <= 0 else low
    high = None if high is None or _code(high, scale) >= 255 else high
    if len(source.users) > 1:
        return None
    computed = _computed(graph, source, scale, relu=low == 0)
    if computed is None:
        return None
    computed.meta = dict(source.meta)
    if low == 0 and computed.target in _WITH_RELU:
        low = None
    return computed if low is high is None else graph.graph.call_function(kernels.clamp.default, (computed, low, high))


def _code(value: float, scale: Scale) -> int:
    return round(value / scale[0]) + scale[1]


def _computed(graph: GraphModule, source: Node, scale: Scale, relu: bool = False) -> Node | None:
    """An operator on codes in place of one on floats; None where PyTorch has none.

    Args:
        graph: to add it to.
        source: the operator on floats.
        scale: that it is to give.
        relu: whether its values end at 0; not every kernel can do so by itself.
    """
    call = graph.graph.call_function
    given: list[Any] = [codes_of(one) for one in source.args]
    if source.target in _LAYERS:
        return _layer(graph, source, given[0], scale, relu)
    if source.target is aten.cat.default:
        parts = [codes_of(one) for one in source.args[0]]  # type: ignore[union-attr]
        dim = source.args[1] if len(source.args) > 1 else 0
        return None if None in parts else call(kernels.cat.default, (parts, dim, *scale))
    if source.target in (aten.add.Tensor, aten.add_.Tensor) and None not in given and not source.kwargs:
        ratios = [one.meta["scale"][0] / scale[0] for one in given]
        fits = all(_RATIOS[0] <= one < _RATIOS[1] for one in ratios)
        kernel = kernels.add_relu.default if relu else kernels.add.default
        return call(kernel, (*given, *scale)) if fits and _alike(source.args) else None
    if source.target in (aten.mul.Tensor, aten.mul_.Tensor) and None not in given:
        return call(kernels.mul_relu.default if relu else kernels.mul.default, (*given, *scale))
    if not given or given[0] is None:
        return None
    if source.target in (aten.hardswish.default, aten.hardswish_.default):
        return call(kernels.hardswish.default, (given[0], *scale))
    if source.target is aten.sigmoid.default:
        return call(kernels.sigmoid.default, (given[0], *scale))
    if source.target is aten.leaky_relu.default:
        return call(kernels.leaky_relu.default, (given[0], *(source.args[1:2] or (0.01,)), False, *scale))
    if source.target is aten.elu.default:
        return call(kernels.elu.default, (given[0], *scale, *source.args[1:]))
    if (source.target in _KEEPS and given[0].meta["scale"] == scale) or _GIVES.get(source.target) == scale:
        return call(source.target, (given[0], *source.args[1:]), source.kwargs)
    return None


def _alike(values: Any) -> bool:
    return len({tuple(one.meta["val"].shape) for one in values}) == 1


# operator on floats -> how its weights are packed, its kernel, the same with ReLU
_LAYERS: dict[Any, tuple[Any, Any, Any]] = {
    aten.conv1d.default: (kernels.conv1d_prepack, kernels.conv1d.default, kernels.conv1d_relu.default),
    aten.conv2d.default: (kernels.conv2d_prepack, kernels.conv2d.new, kernels.conv2d_relu.new),
    aten.linear.default: (kernels.linear_prepack, kernels.linear.default, kernels.linear_relu.default),
}

_WITH_RELU = {kernels.add_relu.default, kernels.mul_relu.default, *(kernel for _, _, kernel in _LAYERS.values())}


def _layer(graph: GraphModule, source: Node, given: Node | None, scale: Scale, relu: bool) -> Node | None:
    prepack, kernel, with_relu = _LAYERS[source.target]
    weight, bias = constant(graph, source.args[1]), None
    if given is None or weight is None or not weight.is_quantized or source.kwargs:
        return None
    if len(source.args) > 2 and source.args[2] is not None:
        bias = constant(graph, source.args[2])
        if bias is None:
            return None
    options: list[Any] = []
    if source.target is not aten.linear.default:
        around = weight.dim() - 2
        defaults = [[1] * around, [0] * around, [1] * around, 1]
        options = [*source.args[3:], *defaults[len(source.args[3:]) :]]
        options[:3] = [list(one) * around if len(one) == 1 else list(one) for one in options[:3]]
    packed = pack(graph, prepack(weight, bias, *options), source.name)
    return graph.graph.call_function(with_relu if relu else kernel, (given, packed, *scale))


def constant(graph: GraphModule, node: Any) -> torch.Tensor | None:
    """The tensor that a node stands for, quantized where it is one of codes; None if it is computed."""
    if isinstance(node, Node) and node.target is _FLOATS and node.args[0].op == "get_attr":  # type: ignore[union-attr]
        node = node.args[0]
    if not isinstance(node, Node) or node.op != "get_attr":
        return None
    found: Any = graph
    for part in str(node.target).split("."):
        found = getattr(found, part)
    value: torch.Tensor = found.detach()
    return value


def pack(graph: GraphModule, packed: Any, name: str) -> Node:
    """Puts the packed weights of a layer into the graph."""
    setattr(graph, f"{name}_packed", packed)
    return graph.graph.get_attr(f"{name}_packed")


def _store(graph: GraphModule, dequantize: Node) -> None:
    """Makes a constant of codes, with what turns it into floats, a quantized tensor."""
    codes, scales, zero_points, *axis = (
        constant(graph, one) if isinstance(one, Node) else one for one in dequantize.args
    )
    if isinstance(scales, torch.Tensor) and scales.numel() > 1:
        held = torch._make_per_channel_quantized_tensor(codes, scales.double(), zero_points.long(), axis[0])
    else:
        held = torch._make_per_tensor_quantized_tensor(codes, float(scales), int(zero_points))
    name = f"{dequantize.args[0].target}_quantized".replace(".", "_")  # type: ignore[union-attr]
    graph.register_buffer(name, held)
    _put(dequantize, graph.graph.call_function(_FLOATS, (graph.graph.get_attr(name),)))
