"""Weights in few bits, put into a `.tflite` in the place of the constants that the converter wrote.

A constant is known by its content: the layer's weight, its axes in the order that the operator wants. What reads it
decides how it is read: FULLY_CONNECTED and CONV_2D take integers beside float activations and quantize these at each
inference (XNNPACK's `qd8` kernels); EMBEDDING_LOOKUP multiplies out the rows that it fetches; any other operator gets a
DEQUANTIZE in front, which XNNPACK runs once, when the file is loaded (one of int4 it leaves to run each time).
"""

import hashlib
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from paring.core.codes import LARGEST, Codes
from paring.core.target import Array
from paring.targets.litert import flatbuffer
from paring.targets.litert.unfold import unfold
from paring.targets.scales import rounded

_Operator, _Type = schema.BuiltinOperator, schema.TensorType
_WEIGHTED = {
    _Operator.CONV_2D, _Operator.DEPTHWISE_CONV_2D, _Operator.FULLY_CONNECTED, _Operator.TRANSPOSE_CONV
}  # fmt: skip  # whose second input is a weight
_HYBRID = {_Operator.FULLY_CONNECTED, _Operator.CONV_2D}
_TYPES = {"int8": _Type.INT8, "int4": _Type.INT4, "float16": _Type.FLOAT16}


@dataclass(frozen=True)
class Layer:
    """A layer whose weight is to be stored in few bits.

    Attributes:
        name: for the error.
        weight: float32, as in PyTorch.
        codes: how it is to be stored.
    """

    name: str
    weight: Array
    codes: Codes


def store(model: Any, layers: Sequence[Layer]) -> list[str]:
    """Replaces the weights of `layers` in a file, in place.

    Args:
        model: a whole file, as `flatbuffer_utils` reads it.
        layers: each weight is one that its codes can hold.

    Returns:
        Names of the layers that are not stored as wanted, because the file does not hold or use the weight so.
    """
    lost = _store(model, layers)
    if not lost:
        return []
    unfold(model, [layer.weight for layer in lost])
    return [layer.name for layer in _store(model, lost)]


def _store(model: Any, layers: Sequence[Layer]) -> list[Layer]:
    """Replaces what has the very weights of `layers`; returns those that were not found."""
    wanted: dict[bytes, list[tuple[Layer, tuple[int, ...]]]] = defaultdict(list)
    for layer in layers:
        for axes in _orders(layer.weight.ndim):
            wanted[_digest(layer.weight.transpose(axes))].append((layer, axes))
    graph, found = model.subgraphs[0], set[str]()
    for index, tensor in enumerate(list(graph.tensors)):
        data = model.buffers[tensor.buffer].data
        if tensor.type == _Type.FLOAT32 and data is not None and len(data):
            hits = wanted.get(_digest(np.asarray(data, np.uint8)), [])
            readers = {flatbuffer.builtin(model, one) for one in _readers(graph, index)}
            if hits and readers:
                dynamic = any(layer.codes.activations == "dynamic" for layer, _ in hits)
                _replace(model, index, *hits[0], dynamic=dynamic)
                found |= {one.name for one, _ in hits if one.codes.activations == "float32" or readers & _HYBRID}
    return [layer for layer in layers if layer.name not in found]


def narrow(model: Any, scales: Collection[tuple[float, ...]]) -> None:
    """Packs the int8 weights with these scales, whose codes are in [−7, 7], as int4, in place.

    A constant that is added or multiplied stays: no kernel takes it, whatever its scale.

    Args:
        model: a whole file, as `flatbuffer_utils` reads it.
        scales: of the layers, rounded as `scales.rounded` does.
    """
    graph = model.subgraphs[0]
    weights = {int(one.inputs[1]) for one in graph.operators if flatbuffer.builtin(model, one) in _WEIGHTED}
    others = {
        int(index)
        for one in graph.operators
        for place, index in enumerate(one.inputs)
        if place != 1 or flatbuffer.builtin(model, one) not in _WEIGHTED
    }
    for index in sorted(weights - others):
        tensor = graph.tensors[index]
        buffer, quantization = model.buffers[tensor.buffer], tensor.quantization
        if tensor.type != _Type.INT8 or buffer.data is None or quantization is None or quantization.scale is None:
            continue
        codes = np.asarray(buffer.data, np.uint8).view(np.int8)
        if rounded(quantization.scale) in scales and np.abs(codes).max(initial=0) <= LARGEST["int4"]:
            buffer.data, tensor.type = _packed(codes), _Type.INT4


def _replace(model: Any, index: int, layer: Layer, axes: tuple[int, ...], *, dynamic: bool) -> None:
    graph, codes = model.subgraphs[0], layer.codes
    tensor, stored = graph.tensors[index], codes.of(layer.weight)
    if stored is None:
        raise ValueError(f"{layer.name}: its weight is none of {codes.dtype} codes")
    flat = np.ascontiguousarray(stored.transpose(axes)).reshape(-1)
    model.buffers[tensor.buffer].data = _packed(flat) if codes.dtype == "int4" else flat.view(np.uint8)
    tensor.type = _TYPES[codes.dtype]
    direct = _HYBRID if dynamic else set[int]()
    if codes.dtype != "float16":
        tensor.quantization = _quantization(model, tensor, codes, first=axes.index(codes.axis) == 0)
        direct = direct | {_Operator.EMBEDDING_LOOKUP}
    readers = [one for one in _readers(graph, index) if flatbuffer.builtin(model, one) not in direct]
    if readers:
        twin = flatbuffer.float_twin(graph, index, b"_stored")
        for reader in readers:
            reader.inputs = [twin if int(i) == index else int(i) for i in reader.inputs]
        unpack = flatbuffer.operator(model, _Operator.DEQUANTIZE, index, twin)
        graph.operators.insert(graph.operators.index(readers[0]), unpack)


def _quantization(model: Any, tensor: Any, codes: Codes, *, first: bool) -> Any:
    found, scales = schema.QuantizationParametersT(), np.array(codes.scales, np.float32)
    found.quantizedDimension = 0 if first else len(tensor.shape) - 1
    if not codes.block:
        found.scale, found.zeroPoint = scales, np.zeros(len(scales), np.int64)
        return found
    # of groups the file keeps scales in float16; the step chose ones that it can hold
    graph, held = model.subgraphs[0], schema.TensorT()
    held.name, held.type = tensor.name + b"_scales", _Type.FLOAT16
    held.shape, held.buffer = [int(tensor.shape[0]), int(tensor.shape[1]) // codes.block], len(model.buffers)
    buffer = schema.BufferT()
    buffer.data = scales.astype(np.float16).view(np.uint8)
    model.buffers.append(buffer)
    graph.tensors.append(held)
    details = schema.BlockwiseQuantizationT()
    details.scales, details.zeroPoints, details.blockSize = len(graph.tensors) - 1, -1, codes.block
    found.detailsType, found.details = schema.QuantizationDetails.BlockwiseQuantization, details
    return found


def _readers(graph: Any, index: int) -> list[Any]:
    return [operator for operator in graph.operators if index in [int(i) for i in operator.inputs]]


def _packed(codes: Array) -> Array:
    """Two int4 codes a byte, the first in the lower half."""
    halves = np.pad(codes.reshape(-1).view(np.uint8) & 0x0F, (0, codes.size % 2))
    packed: Array = halves[::2] | (halves[1::2] << 4)
    return packed


def _orders(axes: int) -> list[tuple[int, ...]]:
    """As PyTorch has them; with the input channels last; and the output channels last, as depthwise filters have."""
    inner = tuple(range(2, axes))
    return list(dict.fromkeys([tuple(range(axes)), (0, *inner, 1), (1, *inner, 0)]))


def _digest(array: Array) -> bytes:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).digest()
