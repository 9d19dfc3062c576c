"""A model's graph in the form that XNNPACK runs fastest, with the same answers."""

from typing import Any

import torch
from torch.ao.quantization.fx import _decomposed  # noqa: F401  # registers quantized_decomposed
from torch.export import ExportedProgram
from torch.fx import GraphModule, Node

from paring.core.model import Model
from paring.core.target import ExportOptions
from paring.targets.executorch import norms
from paring.targets.feeding import End
from paring.targets.folded import fold_weights
from paring.targets.traced import samples, trace

with_scales = torch.ops.quantized_decomposed
aten = torch.ops.aten

_QUANTIZE = with_scales.quantize_per_tensor.default
_DEQUANTIZE = with_scales.dequantize_per_tensor.default
_CLIPS = {  # operator -> names of its bounds, in their order
    aten.clamp.default: ("min", "max"),
    aten.clamp_min.default: ("min",),
    aten.clamp_max.default: ("max",),
}
_LAYERS = {aten.conv2d.default, aten.conv2d.padding, aten.linear.default}
_INT8 = (-128, 127, torch.int8)

Scale = tuple[float, int]
"""Scale and zero point of a tensor."""


def rewritten(model: Model, options: ExportOptions) -> tuple[ExportedProgram, dict[str, End]]:
    """The program to lower, batch size one, and its inputs and outputs as it holds them, by name.

    Weights become int8 constants, and pooling gets the form that XNNPACK has kernels for. Raises what `torch.export`
    raises.
    """
    traced: Any = trace(model).module(check_guards=False)
    for rule in (fold_weights, norms.settle, _keep_dimensions, _average_what_is_there, _step_of_pools, _clips):
        rule(traced)
    nodes = traced.graph
    given = [node for node in nodes.nodes if node.op == "placeholder"]
    ends, fed = dict[str, End](), []
    for node, spec, sample in zip(given, model.inputs, samples(model.inputs), strict=True):
        scale = _bare_input(node) if options.io == "int8" else None
        last = options.layout == "NHWC" and spec.layout == "NCHW"
        if last:  # made anew: of a transposed tensor with one channel the file would keep the strides
            sample = torch.zeros([sample.shape[i] for i in (0, 2, 3, 1)])  # noqa: PLW2901
            _turn_image(node, scale)
        fed.append(sample if scale is None else sample.to(torch.int8))
        ends[spec.name] = _end(fed[-1], scale, last)
    for node, spec in zip(nodes.output_node().args[0], model.outputs, strict=True):
        scale = _bare_output(node) if options.io == "int8" else None
        answer = node.meta["val"]
        ends[spec.name] = _end(answer if scale is None else answer.to(torch.int8), scale)
    nodes.eliminate_dead_code()
    nodes.lint()
    needed = GraphModule(traced, nodes)  # without the float weights that were folded
    program = torch.export.export(needed, tuple(fed), strict=False)
    for node in program.graph.nodes:  # where it was traced from, and from what that was: every later pass copies it
        node.meta.pop("from_node", None)
    return program, ends


def _clips(graph: GraphModule) -> None:
    """A clip before a quantization becomes the one that XNNPACK's layers take up: `hardtanh`, with both its bounds.

    A bound that is not there is that of the codes, beyond which nothing gets anyway. A layer's sum is not rounded
    before its clip, where the clip alone reads it: XNNPACK would take up the clip of codes, too, and fails where zero
    is none of what is left. Rounding keeps the order of values, so that both give the same codes.
    """
    for node in list(graph.graph.nodes):
        users = list(node.users)
        if node.target not in _CLIPS or not users or any(user.target is not _QUANTIZE for user in users):
            continue
        scale, zero, smallest, largest = users[0].args[1:5]
        if any(user.args[1:5] != (scale, zero, smallest, largest) for user in users):
            continue
        source, *given = node.args
        named = {**dict(zip(_CLIPS[node.target], given, strict=False)), **node.kwargs}
        low, high = named.get("min"), named.get("max")
        bounds = (
            (smallest - zero) * scale if low is None else float(low),
            (largest - zero) * scale if high is None else float(high),
        )
        if bounds[0] > bounds[1]:  # all that is left is the upper one
            bounds = (bounds[1], bounds[1])
        with graph.graph.inserting_before(node):
            clip = graph.graph.call_function(aten.hardtanh.default, (_unrounded(source, users[0].args[1:]), *bounds))
        clip.meta = dict(node.meta)
        node.replace_all_uses_with(clip)
        graph.graph.erase_node(node)


def _unrounded(values: Node, scale: tuple[Any, ...]) -> Node:
    """The sum of a layer before it is rounded to that scale for one reader alone; any other values as they are."""
    codes = values.args[0] if values.target is _DEQUANTIZE and len(values.users) == 1 else None
    if not isinstance(codes, Node) or codes.target is not _QUANTIZE or len(codes.users) != 1:
        return values
    layer: Any = codes.args[0]
    return layer if codes.args[1:] == scale and layer.target in _LAYERS and len(layer.users) == 1 else values


def _keep_dimensions(graph: GraphModule) -> None:
    """The mean over rows and columns keeps their dimensions, as XNNPACK has it; a view drops them."""
    for node in list(graph.graph.nodes):
        if node.target is not aten.mean.dim or node.kwargs:
            continue
        source, axes, *keep = node.args
        rank = len(source.meta["val"].shape)
        if rank != 4 or any(keep) or sorted(axis % rank for axis in axes or ()) != [2, 3]:
            continue
        node.args = (source, [2, 3], True)
        kept, new = node, graph.graph
        users = list(node.users)
        if all(user.target is _QUANTIZE for user in users) and len({user.args[1:] for user in users}) == 1:
            with new.inserting_after(kept):
                codes = new.call_function(_QUANTIZE, (kept, *users[0].args[1:]))
            with new.inserting_after(codes):
                kept = new.call_function(_DEQUANTIZE, (codes, *users[0].args[1:]))
        with new.inserting_after(kept):
            flat = new.call_function(aten.view.default, (kept, list(node.meta["val"].shape)))
        flat.meta = dict(node.meta)
        for user in users:
            user.replace_input_with(node, flat)


def _average_what_is_there(graph: GraphModule) -> None:
    """Average pooling without padding counts no padding: said so, XNNPACK has it."""
    for node in graph.graph.nodes:
        if node.target is aten.avg_pool2d.default:
            defaults = [None, None, [], [0, 0], False, True, None]
            arguments = [*node.args, *defaults[len(node.args) :]]
            if not any(arguments[3]) and not node.kwargs:
                arguments[2], arguments[5] = arguments[2] or arguments[1], False
                node.args = tuple(arguments)


def _step_of_pools(graph: GraphModule) -> None:
    """A maximum over windows says its step, which is their size where it is left out: XNNPACK wants it said."""
    for node in graph.graph.nodes:
        if node.target is aten.max_pool2d.default and not (node.args[2:] and node.args[2]):
            node.args = (*node.args[:2], node.args[1], *node.args[3:])


def _bare_input(node: Node) -> Scale | None:
    """Makes an input take codes; returns their scale and zero point, or None if it is not quantized in one way."""
    users = list(node.users)
    if not users or any(user.target is not _QUANTIZE for user in users) or len({u.args[1:] for u in users}) != 1:
        return None
    for user in users:
        user.replace_all_uses_with(node)
        user.graph.erase_node(user)
    return _scale(users[0])


def _bare_output(node: Node) -> Scale | None:
    """Makes the graph give an output's codes; returns their scale and zero point, or None if it is not quantized."""
    if node.target is not _DEQUANTIZE:
        return None
    node.graph.output_node().replace_input_with(node, node.args[0])  # type: ignore[arg-type]
    return _scale(node)


def _turn_image(node: Node, scale: Scale | None) -> None:
    """Lets an image input take NHWC. Codes are moved as XNNPACK knows it: between a dequantization and its inverse."""
    users, new = list(node.users), node.graph
    with new.inserting_after(node):
        last = new.call_function(_DEQUANTIZE, (node, *scale, *_INT8)) if scale else node
    with new.inserting_after(last):
        first = new.call_function(aten.permute.default, (last, [0, 3, 1, 2]))
    if scale:
        with new.inserting_after(first):
            first = new.call_function(_QUANTIZE, (first, *scale, *_INT8))
    for user in users:
        user.replace_input_with(node, first)


def _end(tensor: torch.Tensor, scale: Scale | None, channels_last: bool = False) -> End:
    dtype = str(tensor.dtype).removeprefix("torch.")
    return End(tuple(tensor.shape), dtype, *(scale or (0.0, 0)), channels_last)


def _scale(node: Node) -> Scale:
    scale, zero_point = node.args[1:3]
    return float(scale), int(zero_point)  # type: ignore[arg-type]
