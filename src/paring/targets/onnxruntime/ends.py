"""Inputs and outputs of a graph as options ask for them: integers, channels last."""

from collections.abc import Collection
from typing import Any

import onnx_ir as ir

from paring.targets.onnxruntime.graph import DEQUANTIZE, QUANTIZE, remove


def to_codes(graph: Any) -> dict[str, tuple[float, int]]:
    """Takes the `QuantizeLinear` behind each input and the `DequantizeLinear` before each output away.

    Returns:
        Scale and zero point of each input and output that holds codes now.
    """
    found = {}
    for value in graph.inputs:
        users = [user for user, _ in value.uses()]
        if [user.op_type for user in users] == [QUANTIZE]:
            found[value.name] = _scale(users[0])
            value.type = users[0].outputs[0].type
            remove(graph, users[0], value)
    for i, value in enumerate(graph.outputs):
        last = value.producer()
        if last is None or last.op_type != DEQUANTIZE or last.inputs[0].producer() is None or value.uses():
            continue
        code, name = last.inputs[0], value.name
        if not code.is_graph_output():
            found[name] = _scale(last)
            graph.outputs[i] = code
            graph.remove(last, safe=True)
            code.name = name
    return found


def channels_last(graph: Any, images: Collection[str]) -> None:
    """Makes the inputs of these names NHWC. Where an image is quantized first, its codes are transposed."""
    for value in graph.inputs:
        if value.name not in images:
            continue
        users = [user for user, _ in value.uses()]
        first = users[0] if [user.op_type for user in users] == [QUANTIZE] else None
        source = value if first is None else first.outputs[0]
        uses, sizes = list(source.uses()), list(value.shape)
        turned = ir.node("Transpose", [source], {"perm": [0, 3, 1, 2]})
        turned.outputs[0].name, turned.outputs[0].type = f"{value.name}_turned", source.type
        turned.outputs[0].shape = ir.Shape(sizes)
        value.shape = source.shape = ir.Shape([sizes[0], *sizes[2:], sizes[1]])
        for user, place in uses:
            user.replace_input_with(place, turned.outputs[0])
        if first is None:
            graph.insert_before(graph[0], turned)
        else:
            graph.insert_after(first, turned)


def _scale(node: Any) -> tuple[float, int]:
    scale, zero_point = (value.const_value.numpy() for value in node.inputs[1:3])  # the exporter stores both
    return scale.item(), zero_point.item()
