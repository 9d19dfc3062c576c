"""A model's graph with the same answers, in operators that the converter knows.

Of transposed convolutions it knows those that TensorFlow has: no padding, or one that gives `stride` times the size.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.ao.quantization.fx import _decomposed  # noqa: F401  # registers quantized_decomposed
from torch.fx import Graph, GraphModule, Node

from paring.core.model import Model
from paring.targets.litert import settled
from paring.targets.traced import trace

_aten = torch.ops.aten
_with_scales = torch.ops.quantized_decomposed
_QUANTIZE, _DEQUANTIZE = _with_scales.quantize_per_tensor.default, _with_scales.dequantize_per_tensor.default
_OF_CHANNELS = (_with_scales.quantize_per_channel.default, _with_scales.dequantize_per_channel.default)
_TRANSPOSED = {_aten.conv_transpose1d.default, _aten.conv_transpose2d.input}
_SCALED = {_aten.add.Tensor, _aten.add_.Tensor, _aten.sub.Tensor, _aten.sub_.Tensor, _aten.rsub.Tensor}
_FUSED = {  # what one operator of the file does together with the convolution before it
    _aten.relu.default, _aten.relu_.default, _aten.relu6.default, _aten.hardtanh.default, _aten.hardtanh_.default,
}  # fmt: skip


def rewritten(model: Model) -> nn.Module:
    """The module to convert: the model's own where nothing is to be rewritten. Raises what `torch.export` raises."""
    program = trace(model)
    user = set(program.graph_signature.user_inputs)
    stored = frozenset(one.arg.name for one in program.graph_signature.input_specs if one.arg.name not in user)
    if not any(_foreign(node) for node in program.graph.nodes) and not settled.torn(program.graph, stored):
        return model.module
    traced: Any = program.module(check_guards=False)
    settled.store(traced)
    for node in [node for node in traced.graph.nodes if _foreign(node)]:
        (_transposed if node.target in _TRANSPOSED else _scaled)(traced, node)
    traced.graph.eliminate_dead_code()
    traced.graph.lint()
    needed = GraphModule(traced, traced.graph)  # without the tensors that others replaced
    needed.training = False
    return needed


def _foreign(node: Node) -> bool:
    """Whether the converter does not know the operator with these arguments."""
    if node.target in _SCALED:
        return bool(node.kwargs.get("alpha", 1) != 1 or len(node.args) > 2)
    if node.target not in _TRANSPOSED:
        return False
    weight: Any = node.args[1]
    _, _, _, strides, paddings, more, groups, dilations = _arguments(node)
    return weight.target in _OF_CHANNELS or not _known(strides, paddings, more, groups, dilations, _kernel(node))


def _known(
    strides: Sequence[int],
    paddings: Sequence[int],
    more: Sequence[int],
    groups: int,
    dilations: Sequence[int],
    kernel: Sequence[int],
) -> bool:
    """Whether TensorFlow has the transposed convolution."""
    valid = not any(paddings) and all(size >= stride for size, stride in zip(kernel, strides, strict=True))
    same = all(size - stride == 2 * pad for size, stride, pad in zip(kernel, strides, paddings, strict=True))
    plain = groups == 1 and not any(more) and all(spread == 1 for spread in dilations)
    return plain and max(strides) > 1 and len(kernel) == 2 and (valid or same)


def _arguments(node: Node) -> tuple[Any, ...]:
    """Input, weight, bias, stride, padding, output padding, groups and dilation of a transposed convolution."""
    axes = len(_kernel(node))
    given: list[Any] = [*node.args, *(None, 1, 0, 0, 1, 1)[len(node.args) - 2 :]]
    every = [
        [one] * axes if isinstance(one, int) else list(one) * (axes // len(one)) for one in (*given[3:6], given[7])
    ]
    return (*given[:3], *every[:3], given[6], every[3])


def _kernel(node: Node) -> list[int]:
    return list(node.args[1].meta["val"].shape[2:])  # type: ignore[union-attr]


def _scaled(module: GraphModule, node: Node) -> None:
    """As a product and a sum: a + alpha · b."""
    first, second, *rest = node.args
    factor = rest[0] if rest else node.kwargs["alpha"]
    if node.target is _aten.rsub.Tensor:
        first, second = second, first
    with module.graph.inserting_before(node):
        product = module.graph.call_function(_aten.mul.Tensor, (second, factor))
        add = "add" in str(node.target)
        found = module.graph.call_function(_aten.add.Tensor if add else _aten.sub.Tensor, (first, product))
    _instead(module.graph, node, found)


def _transposed(module: GraphModule, node: Node) -> None:
    """A transposed convolution as one without padding and a slice; with groups, as a convolution of spread values."""
    image, weight, bias, strides, paddings, more, groups, dilations = _arguments(node)
    kernel, flat = _kernel(node), len(_kernel(node)) == 1
    known, stored = _known(strides, paddings, more, groups, dilations, kernel), _stored(module, weight)
    if stored is None or (groups > 1 and weight.target in _OF_CHANNELS):
        return
    graph = module.graph
    if known:
        with graph.inserting_before(node):
            node.replace_input_with(weight, _rounded(module, node, weight, stored))
        return
    with graph.inserting_before(node):
        if flat:  # rows of one pixel
            image, stored = graph.call_function(_aten.unsqueeze.default, (image, 2)), stored.unsqueeze(2)
            strides, paddings, more, dilations = [1, *strides], [0, *paddings], [0, *more], [1, *dilations]
            kernel = [1, *kernel]
        size = list(node.meta["val"].shape)[2:] if not flat else [1, node.meta["val"].shape[-1]]
        reach = [spread * (extent - 1) for spread, extent in zip(dilations, kernel, strict=True)]
        if groups > 1 or max(strides) == 1:
            inner = list(image.meta["val"].shape) if not flat else _rows(node)
            image = _spread(graph, image, inner, strides)
            before = [far - pad for far, pad in zip(reach, paddings, strict=True)]
            behind = [
                after + far - had * stride
                for after, far, had, stride in zip(size, reach, inner[2:], strides, strict=True)
            ]
            behind = [one - first for one, first in zip(behind, before, strict=True)]
            padding = before if before == behind and min(before) >= 0 else [0, 0]
            if padding is not before:
                image = _framed(graph, image, [inner[2] * strides[0], inner[3] * strides[1]], before, behind)
            held = _placed(module, node, weight, _turned(stored, groups), 0)
            arguments = (image, held, bias, [1, 1], padding, dilations, groups)
            found = last = graph.call_function(_aten.conv2d.default, arguments)
            crop = None
        else:
            extra = [max(0, one - pad) for one, pad in zip(more, paddings, strict=True)]
            held = _rounded(module, node, weight, _grown(stored, dilations, strides, extra))
            found = last = graph.call_function(_aten.conv_transpose2d.input, (image, held, bias, strides))
            crop = [(pad, pad + after) for pad, after in zip(paddings, size, strict=True)]
    if flat:
        with graph.inserting_after(last):
            last = graph.call_function(_aten.squeeze.dims, (last, [2]))
        crop = crop and crop[1:]
    _instead(graph, node, last)
    if crop:
        _cropped(graph, last if flat else found, crop)


def _rows(node: Node) -> list[int]:
    batch, channels, length = node.args[0].meta["val"].shape  # type: ignore[union-attr]
    return [batch, channels, 1, length]


def _stored(module: GraphModule, node: Node) -> Tensor | None:
    """A weight's values, before they are quantized; None if they are computed."""
    while node.target in _OF_CHANNELS:
        node = node.args[0]  # type: ignore[assignment]
    return _value(module, node) if node.op == "get_attr" else None


def _value(module: GraphModule, node: Node) -> Tensor:
    found: Any = module
    for part in str(node.target).split("."):
        found = getattr(found, part)
    return found.detach()  # type: ignore[no-any-return]


def _placed(module: GraphModule, node: Node, weight: Node, values: Tensor, axis: int) -> Node:
    """A new stored weight, quantized as the old one was, with its output channels along an axis."""
    name = f"_rewritten_{node.name}"
    module.register_buffer(name, values.contiguous())
    held = module.graph.get_attr(name)
    for operator in _OF_CHANNELS:
        if weight.target in _OF_CHANNELS:
            scale, zero, _, *rest = weight.args[1:]
            held = module.graph.call_function(operator, (held, scale, zero, axis, *rest))
    return held


def _rounded(module: GraphModule, node: Node, weight: Node, values: Tensor) -> Node:
    """The kernel of a transposed convolution as what its codes stand for.

    The converter drops what quantizes it; `transposed.mend` puts the codes into the file.
    """
    if weight.target in _OF_CHANNELS:
        scale, zero, _, *rest = weight.args[1:]
        given = [_value(module, one) for one in (scale, zero)]  # type: ignore[arg-type]
        for operator in _OF_CHANNELS:
            values = operator(values, *given, 1, *rest)
    module.register_buffer(f"_rewritten_{node.name}", values.contiguous())
    return module.graph.get_attr(f"_rewritten_{node.name}")


def _turned(weight: Tensor, groups: int) -> Tensor:
    """The weight of the convolution that a transposed one with stride 1 is: (outputs, inputs of a group, …)."""
    outputs, kernel = weight.shape[1] * groups, weight.shape[2:]
    parts = weight.flip(2, 3).reshape(groups, -1, weight.shape[1], *kernel).transpose(1, 2)
    return parts.reshape(outputs, -1, *kernel)


def _grown(weight: Tensor, dilations: Sequence[int], strides: Sequence[int], extra: Sequence[int]) -> Tensor:
    """With the zeros of its dilation in it, and behind it as many as are missing to its stride, and some more."""
    sizes = [spread * (extent - 1) + 1 for spread, extent in zip(dilations, weight.shape[2:], strict=True)]
    full = [max(size + one, stride) for size, one, stride in zip(sizes, extra, strides, strict=True)]
    grown = weight.new_zeros(*weight.shape[:2], *full)
    grown[:, :, : sizes[0] : dilations[0], : sizes[1] : dilations[1]] = weight
    return grown


def _spread(graph: Graph, image: Node, shape: Sequence[int], strides: Sequence[int]) -> Node:
    """Puts `stride - 1` zeros behind each row and each column."""
    batch, channels, height, width = shape
    if strides[1] > 1:
        image = graph.call_function(_aten.reshape.default, (image, [batch, channels * height, width, 1]))
        image = graph.call_function(_aten.constant_pad_nd.default, (image, [0, strides[1] - 1]))
    width *= strides[1]
    if strides[0] > 1:
        image = graph.call_function(_aten.reshape.default, (image, [batch, channels * height, 1, width]))
        image = graph.call_function(_aten.constant_pad_nd.default, (image, [0, 0, 0, strides[0] - 1]))
    return graph.call_function(_aten.reshape.default, (image, [batch, channels, height * strides[0], width]))


def _framed(graph: Graph, image: Node, size: Sequence[int], before: Sequence[int], behind: Sequence[int]) -> Node:
    """Zeros round an image; where a number is negative, so many pixels less."""
    for axis, (first, last) in enumerate(zip(before, behind, strict=True)):
        if first < 0 or last < 0:
            limits = (max(0, -first), size[axis] + min(0, last))
            image = graph.call_function(_aten.slice.Tensor, (image, axis + 2, *limits))
    sides = [max(0, one) for pair in zip(before[::-1], behind[::-1], strict=True) for one in pair]
    return graph.call_function(_aten.constant_pad_nd.default, (image, sides)) if any(sides) else image


def _cropped(graph: Graph, found: Node, limits: Sequence[tuple[int, int]]) -> None:
    """Cuts rows and columns off what reads `found`: behind the activation and the quantization that belong to it."""
    last, quantized = found, None
    while len(last.users) == 1 and (user := next(iter(last.users))).target in _FUSED:
        last = user
    if len(last.users) == 1 and (user := next(iter(last.users))).target is _QUANTIZE:
        quantized = user
    source = quantized or found
    readers, axes = list(source.users), len(limits)
    with graph.inserting_after(source):
        cut = graph.call_function(_DEQUANTIZE, (source, *source.args[1:])) if quantized else source
    for axis, (first, behind) in enumerate(limits):
        with graph.inserting_after(cut):
            cut = graph.call_function(_aten.slice.Tensor, (cut, axis + 4 - max(axes, 2), first, behind))
    if quantized:
        with graph.inserting_after(cut):
            cut = graph.call_function(_QUANTIZE, (cut, *source.args[1:]))
    for reader in readers:
        reader.replace_input_with(source, cut)


def _instead(graph: Graph, node: Node, found: Node) -> None:
    found.meta = dict(node.meta)
    node.replace_all_uses_with(found)
    graph.erase_node(node)
