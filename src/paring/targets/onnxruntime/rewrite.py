"""Rewrites of an exported graph. None changes an answer; each makes more of the graph run on integers, or run at all.

A quantized graph is in QDQ form: `DequantizeLinear` before an operator and `QuantizeLinear` after it, which ONNX
Runtime fuses into one operator on integers.
"""

from typing import Any

import numpy as np
import onnx_ir as ir

from paring.targets.onnxruntime import integers
from paring.targets.onnxruntime.graph import DEQUANTIZE, QUANTIZE, constant, nodes, only_user, remove


def everything(graph: Any) -> None:
    """All rewrites, in an order in which each finds what the others leave."""
    pool(graph)
    integers.store_weights(graph)
    drop_clips(graph)
    fuse_pads(graph)
    pad_codes(graph)
    integers.store_biases(graph)
    integers.shift(graph)


def pool(graph: Any) -> None:
    """Makes means over an image's height and width pooling operators, which have kernels for integers.

    A flattening moves behind the `QuantizeLinear` that follows, if one does: there it moves integers.
    """
    for node in nodes(graph, "ReduceMean"):
        image, axes = node.inputs[0], constant(node.inputs[1]) if len(node.inputs) > 1 else None
        if axes is None or image.shape is None or len(image.shape) != 4 or sorted(axes % 4) != [2, 3]:
            continue
        mean, keeps = node.outputs[0], node.attributes["keepdims"].as_int() == 1
        pooled = ir.node("GlobalAveragePool", [image], name=node.name)
        pooled.outputs[0].type, pooled.outputs[0].shape = mean.type, ir.Shape([*list(image.shape)[:2], 1, 1])
        pooled.outputs[0].name = f"{mean.name}_pooled"
        graph.insert_before(node, pooled)
        if keeps:
            remove(graph, node, pooled.outputs[0])
            continue
        users = [user for user, _ in mean.uses()]
        last = users[0] if [user.op_type for user in users] == [QUANTIZE] and not mean.is_graph_output() else None
        flat = ir.node("Flatten", [pooled.outputs[0]], {"axis": 1})
        if last is None:
            flat.outputs[0].name, flat.outputs[0].type, flat.outputs[0].shape = mean.name, mean.type, mean.shape
            graph.insert_before(node, flat)
            remove(graph, node, flat.outputs[0])
            continue
        code = last.outputs[0]
        flat.outputs[0].name, flat.outputs[0].type, flat.outputs[0].shape = f"{code.name}_flat", code.type, code.shape
        ir.convenience.replace_all_uses_with(code, flat.outputs[0])
        last.replace_input_with(0, pooled.outputs[0])
        flat.replace_input_with(0, code)
        code.shape = pooled.outputs[0].shape
        graph.insert_after(last, flat)
        graph.remove(node, safe=True)


def drop_clips(graph: Any) -> None:
    """Removes each `Clip` and `Relu` whose only user quantizes to a range within it: see `implied`."""
    for node in nodes(graph, "Clip", "Relu"):
        users = [user for user, _ in node.outputs[0].uses()]
        if [user.op_type for user in users] != [QUANTIZE] or node.outputs[0].is_graph_output():
            continue
        scale, zero_point = (constant(value) for value in users[0].inputs[1:3])
        bounds = _bounds(node)
        if scale is None or zero_point is None or scale.size != 1 or bounds is None:
            continue
        if implied(float(scale), int(zero_point), np.iinfo(zero_point.dtype), bounds):
            remove(graph, node, node.inputs[0])


def implied(scale: float, zero_point: int, codes: Any, bounds: tuple[float, float]) -> bool:
    """Whether quantizing gives the same code with and without a clip to `bounds` before it, whatever is clipped.

    Rounding never changes an order, so this holds if and only if each bound itself gets the last code on its side:
    what lies beyond gets it, too, clipped or not.

    Args:
        scale: of the codes.
        zero_point: likewise.
        codes: `numpy.iinfo` of their type.
        bounds: smallest and largest value that the clip lets through.
    """
    low, high = (np.rint(np.float32(bound) / np.float32(scale)) + zero_point for bound in bounds)
    return bool(low <= codes.min and high >= codes.max)


def _bounds(node: Any) -> tuple[float, float] | None:
    """Smallest and largest value that a clip lets through; None if it computes them."""
    if node.op_type == "Relu":
        return 0.0, np.inf
    given = [*node.inputs[1:], None, None][:2]
    arrays = [constant(value) for value in given]
    if any(value is not None and array is None for value, array in zip(given, arrays, strict=True)):
        return None
    low, high = (None if array is None else float(array) for array in arrays)
    return -np.inf if low is None else low, np.inf if high is None else high


def fuse_pads(graph: Any) -> None:
    """Gives the zeros of a `Pad` to the convolution behind it, through a quantize–dequantize pair if one lies between.

    Zero has a code of its own in every scale (its zero point), so that padding before or after quantizing is the same.
    """
    for node in nodes(graph, "Pad"):
        chain = _chain(node)
        pads = constant(node.inputs[1])
        conv = chain[-1]
        if conv.op_type != "Conv" or pads is None or not _pads_zeros(node):
            continue
        half = len(pads) // 2
        outer, inner = (pads[[0, 1, half, half + 1]], np.concatenate([pads[2:half], pads[half + 2 :]]))
        if (
            outer.any()
            or (pads < 0).any()
            or ("auto_pad" in conv.attributes and conv.attributes["auto_pad"].as_string() != "NOTSET")
        ):
            continue
        own = np.array(conv.attributes["pads"].as_ints()) if "pads" in conv.attributes else np.zeros_like(inner)
        conv.attributes["pads"] = ir.AttrInt64s("pads", [int(size) for size in own + inner])
        for between in chain[:-1]:
            between.outputs[0].shape = node.inputs[0].shape
        remove(graph, node, node.inputs[0])


def pad_codes(graph: Any) -> None:
    """Lets a `Pad` with zeros between two equal scales pad the codes, with the zero point.

    ONNX Runtime drops such a pair around operators that move values, but not around this one.
    """
    for node in nodes(graph, "Pad"):
        before, after = node.inputs[0].producer(), only_user(node)
        if before is None or after is None or (before.op_type, after.op_type) != (DEQUANTIZE, QUANTIZE):
            continue
        ends = [[constant(value) for value in end.inputs[1:3]] for end in (before, after)]
        if not _pads_zeros(node) or not all(np.array_equal(a, b) for a, b in zip(*ends, strict=True)):
            continue
        node.resize_inputs(max(3, len(node.inputs)))
        node.replace_input_with(0, before.inputs[0])
        node.replace_input_with(2, after.inputs[2])
        code, padded = after.outputs[0], node.outputs[0]
        padded.type, padded.shape = code.type, code.shape
        ir.convenience.replace_all_uses_with(code, padded)
        graph.remove(after, safe=True)


def _pads_zeros(node: Any) -> bool:
    mode = node.attributes["mode"].as_string() if "mode" in node.attributes else "constant"
    value = constant(node.inputs[2]) if len(node.inputs) > 2 else np.zeros(1)
    axes = len(node.inputs) > 3 and node.inputs[3] is not None
    return mode == "constant" and value is not None and value.item() == 0 and not axes


def _chain(node: Any) -> list[Any]:
    """The only user of an operator, past a quantize and a dequantize that have no other user either."""
    found: list[Any] = []
    for kind in (QUANTIZE, DEQUANTIZE, ""):
        user = only_user(node)
        if user is None:
            return [*found, node]
        found, node = [*found, user], user
        if user.op_type != kind:
            break
    return found
