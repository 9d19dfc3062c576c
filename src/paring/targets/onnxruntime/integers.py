"""Numbers of a quantized graph as its kernels take them: int8 weights, int32 biases, uint8 activations."""

from typing import Any

import numpy as np
import onnx_ir as ir

from paring.core.target import Array
from paring.targets.onnxruntime.graph import DEQUANTIZE, QUANTIZE, constant, nodes, only_user, remove, store

_WEIGHTED = {"Conv", "ConvTranspose", "Gemm", "MatMul", "Transpose", "Reshape", "Unsqueeze", "Gather"}
SHIFT = 128  # from a signed code to the unsigned one


def store_weights(graph: Any) -> None:
    """Stores in int8 what the graph would quantize anew at every start: its weights.

    Computed as torch computes them (times the inverse of the scale, in float32), to the last code.
    """
    for node in nodes(graph, QUANTIZE):
        weight, scale, zero_point = (constant(value) for value in node.inputs)
        if weight is None or scale is None or zero_point is None:
            continue
        axis = node.attributes["axis"].as_int() if "axis" in node.attributes else 1
        around = [-1 if scale.ndim and i == axis else 1 for i in range(weight.ndim)]
        inverse = (np.float32(1) / scale).reshape(around)
        limits = np.iinfo(zero_point.dtype)
        low, high, last = limits.min, limits.max, node
        clip = only_user(node)
        if clip is not None and clip.op_type == "Clip":
            low, high, last = (
                *(int(bound.item()) for bound in map(constant, clip.inputs[1:]) if bound is not None),
                clip,
            )
        codes = np.clip(np.rint(weight * inverse) + zero_point.reshape(around), low, high).astype(zero_point.dtype)
        name = node.inputs[0].name  # of which nothing is left when the node is gone
        stored = store(graph, f"{name}_code", codes)
        remove(graph, last, stored)
        for user, _ in list(stored.uses()):  # a zero point of its own: one that is shared cannot be made unsigned
            if user.op_type == DEQUANTIZE and len(user.inputs) > 2:
                user.replace_input_with(2, store(graph, f"{name}_zero", zero_point))
        if last is not node:
            graph.remove(node, safe=True)


def store_biases(graph: Any) -> None:
    """Stores the bias of a quantized convolution or linear layer in int32, as its kernel adds it.

    Its scale is that of the input times that of the weight's channel (Jacob et al. 2018, arXiv:1712.05877,
    equation 11). A bias too large for 32 bits stays, and with it its layer, in float.
    """
    for node in nodes(graph, "Conv", "ConvTranspose", "Gemm"):
        sources: list[Any] = [value.producer() if value is not None else None for value in node.inputs]
        if len(sources) < 3 or any(source is None or source.op_type != DEQUANTIZE for source in sources[:2]):
            continue
        bias = constant(node.inputs[2])
        data, weight = (constant(source.inputs[1]) for source in sources[:2])
        if bias is None or bias.ndim != 1 or data is None or weight is None or data.size != 1:
            continue
        scale = (data * weight).astype(np.float32)
        with np.errstate(divide="ignore", over="ignore"):
            codes = np.rint(bias.astype(np.float64) / scale)
        if not (np.abs(codes) < 2**31).all():
            continue
        name = node.inputs[2].name
        stored = [
            store(graph, f"{name}_code", codes.astype(np.int32)),
            store(graph, f"{name}_scale", np.broadcast_to(scale, bias.shape) if weight.ndim else scale),
        ]
        restored = ir.node(DEQUANTIZE, stored, {"axis": 0})
        restored.outputs[0].name, restored.outputs[0].type = f"{name}_value", ir.TensorType(ir.DataType.FLOAT)
        restored.outputs[0].shape = ir.Shape(bias.shape)
        graph.insert_before(node, restored)
        node.replace_input_with(2, restored.outputs[0])


def shift(graph: Any) -> None:
    """Makes the int8 codes of activations uint8 ones: each code and each zero point is 128 more.

    Exact, for rounding comes before the zero point is added. Weights stay int8; a stored tensor that is added to
    activations, or the like, goes with them.
    """
    for node in nodes(graph, QUANTIZE, DEQUANTIZE, "Pad"):
        codes = constant(node.inputs[0])
        if len(node.inputs) < 3 or (codes is not None and (codes.dtype != np.int8 or _weighs(node))):
            continue
        if codes is not None:
            node.replace_input_with(0, store(graph, f"{node.inputs[0].name}_u", shifted(codes)))
        zero_point = constant(node.inputs[2])
        if zero_point is not None and zero_point.dtype == np.int8:
            name = f"{node.inputs[2].name}_u"
            moved = graph.initializers.get(name)
            node.replace_input_with(2, moved if moved is not None else store(graph, name, shifted(zero_point)))
    for node in graph:
        for value in node.outputs:
            if value.dtype == ir.DataType.INT8:
                value.type = ir.TensorType(ir.DataType.UINT8)


def _weighs(node: Any) -> bool:
    """Whether what a node gives is the weight of a layer."""
    return any(user.op_type in _WEIGHTED for user, _ in node.outputs[0].uses())


def shifted(codes: Array) -> Array:
    """int8 codes as the uint8 codes that stand for the same values, 128 more."""
    return (codes.astype(np.int16) + SHIFT).astype(np.uint8)
