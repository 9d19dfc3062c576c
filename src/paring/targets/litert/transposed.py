"""Transposed convolutions as the runtime computes them: on codes where the model is quantized, activations apart.

The converter turns the kernel round, and with it loses the scales of its codes: it writes the kernel in float between a
DEQUANTIZE and a QUANTIZE. And it writes activations into TRANSPOSE_CONV, where no kernel looks for them; behind one
without a bias it leaves them in float.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from paring.core.target import Array
from paring.targets.litert import flatbuffer
from paring.targets.litert.graph import sweep

_Operator, _Type, _Activation = schema.BuiltinOperator, schema.TensorType, schema.ActivationFunctionType
_ACTIVATIONS = {
    _Activation.RELU: (_Operator.RELU, 0.0, np.inf),
    _Activation.RELU6: (_Operator.RELU6, 0.0, 6.0),
    _Activation.RELU_N1_TO_1: (_Operator.RELU_N1_TO_1, -1.0, 1.0),
}
_VERSION = 3  # of TRANSPOSE_CONV, from which on it takes int8 and a bias
_GRID = 1e-2  # of a code: so near to whole numbers are weights that were quantized
_LARGEST = 127


def mend(model: Any, scales: Iterable[tuple[float, ...]]) -> None:
    """Gives every TRANSPOSE_CONV what it is to compute with, in place.

    Args:
        model: a whole file, as `flatbuffer.read` gives it.
        scales: of the weights of quantized layers.
    """
    graph, known = model.subgraphs[0], [np.array(one, np.float32) for one in scales]
    for operator in [one for one in graph.operators if flatbuffer.builtin(model, one) == _Operator.TRANSPOSE_CONV]:
        if graph.tensors[int(operator.inputs[2])].type == _Type.FLOAT32:
            _join(model, graph, operator)
            _quantize(model, graph, operator, known)
        _part(model, graph, operator)
    sweep(model, graph)


def _join(model: Any, graph: Any, operator: Any) -> None:
    """Writes the activation behind an operator into it, if nothing else reads what it gives; `_part` undoes it."""
    result = int(operator.outputs[0])
    readers = [one for one in graph.operators if result in [int(i) for i in one.inputs]]
    kinds = {kind: fused for fused, (kind, *_) in _ACTIVATIONS.items()}
    fused = kinds.get(flatbuffer.builtin(model, readers[0])) if len(readers) == 1 else None
    free = operator.builtinOptions.fusedActivationFunction == _Activation.NONE
    if fused is None or not free or result in [int(i) for i in graph.outputs]:
        return
    operator.builtinOptions.fusedActivationFunction, operator.outputs = fused, list(readers[0].outputs)
    graph.operators = [one for one in graph.operators if one is not readers[0]]


def _quantize(model: Any, graph: Any, operator: Any, known: list[Array]) -> None:
    """Makes it compute on codes if its input, its weight and its output are codes."""
    source = _producer(graph, int(operator.inputs[2]))
    result = int(operator.outputs[0])
    readers = [one for one in graph.operators if result in [int(i) for i in one.inputs]]
    if (
        source is None
        or flatbuffer.builtin(model, source) != _Operator.DEQUANTIZE
        or len(readers) != 1
        or flatbuffer.builtin(model, readers[0]) != _Operator.QUANTIZE
        or result in [int(i) for i in graph.outputs]
    ):
        return
    weight = _values(model, graph, int(operator.inputs[1]))
    steps = None if weight is None else next((one for one in known if _on_grid(weight, one)), None)
    codes, target = graph.tensors[int(source.inputs[0])], int(readers[0].outputs[0])
    given = graph.tensors[target]
    if steps is None or codes.type != _Type.INT8 or given.type != _Type.INT8 or not _implied(operator, given):
        return
    bias = (
        _values(model, graph, int(operator.inputs[3])) if len(operator.inputs) > 3 and operator.inputs[3] >= 0 else None
    )
    inputs = [int(operator.inputs[0]), 0, int(source.inputs[0])]
    inputs[1] = _stored(model, graph, np.rint(weight / steps[:, None, None, None]).astype(np.int8), steps, b"kernel")
    if bias is not None:
        product = float(codes.quantization.scale[0]) * steps.astype(float)
        inputs.append(_stored(model, graph, np.rint(bias / product).astype(np.int32), product, b"bias"))
    operator.inputs, operator.outputs = inputs, [target]
    operator.builtinOptions.fusedActivationFunction = _Activation.NONE
    code = model.operatorCodes[operator.opcodeIndex]
    code.version = max(int(code.version), _VERSION)
    graph.operators = [one for one in graph.operators if one is not readers[0]]


def _part(model: Any, graph: Any, operator: Any) -> None:
    """Puts an activation that is written into the operator behind it, if the codes alone do not do it."""
    kind, *_ = _ACTIVATIONS.get(operator.builtinOptions.fusedActivationFunction, (None, 0, 0))
    result = int(operator.outputs[0])
    if kind is None:
        return
    if graph.tensors[result].type == _Type.INT8 and _implied(operator, graph.tensors[result]):
        operator.builtinOptions.fusedActivationFunction = _Activation.NONE
        return
    inner, summed = graph.tensors[result], schema.TensorT()
    summed.name, summed.shape, summed.shapeSignature = inner.name + b"_sum", inner.shape, inner.shapeSignature
    summed.type, summed.hasRank, summed.quantization = inner.type, inner.hasRank, inner.quantization
    graph.tensors.append(summed)
    operator.outputs = [len(graph.tensors) - 1]
    operator.builtinOptions.fusedActivationFunction = _Activation.NONE
    activation = flatbuffer.operator(model, kind, len(graph.tensors) - 1, result)
    place = next(place for place, one in enumerate(graph.operators) if one is operator)
    graph.operators.insert(place + 1, activation)


def _implied(operator: Any, given: Any) -> bool:
    """Whether the range of the output's codes cuts off what the activation does."""
    _, low, high = _ACTIVATIONS.get(operator.builtinOptions.fusedActivationFunction, (None, -np.inf, np.inf))
    scale, zero = float(given.quantization.scale[0]), int(given.quantization.zeroPoint[0])
    return bool(np.rint(low / scale) + zero <= -_LARGEST - 1 and np.rint(high / scale) + zero >= _LARGEST) or (
        not np.isfinite(low) and not np.isfinite(high)
    )


def _on_grid(weight: Array, steps: Array) -> bool:
    """Whether weights, the output channels first, are whole codes of these scales."""
    if len(steps) != len(weight):
        return False
    codes = weight / steps[:, None, None, None]
    return bool(np.abs(codes - np.rint(codes)).max() < _GRID and np.abs(codes).max() < _LARGEST + _GRID)


def _producer(graph: Any, index: int) -> Any:
    return next((one for one in graph.operators if index in [int(i) for i in one.outputs]), None)


def _values(model: Any, graph: Any, index: int) -> Array | None:
    """A stored float32 tensor."""
    tensor = graph.tensors[index]
    data = model.buffers[tensor.buffer].data
    if tensor.type != _Type.FLOAT32 or data is None or not len(data):
        return None
    return np.asarray(data, np.uint8).view(np.float32).reshape([int(size) for size in tensor.shape])


def _stored(model: Any, graph: Any, codes: Array, scales: Array, name: bytes) -> int:
    """The number of a new tensor of codes with a scale for each index of the first axis."""
    buffer, tensor = schema.BufferT(), schema.TensorT()
    buffer.data = np.ascontiguousarray(codes).view(np.uint8).reshape(-1)
    model.buffers.append(buffer)
    tensor.name, tensor.shape, tensor.hasRank, tensor.buffer = name, list(codes.shape), True, len(model.buffers) - 1
    tensor.type = _Type.INT8 if codes.dtype == np.int8 else _Type.INT32
    tensor.quantization = schema.QuantizationParametersT()
    tensor.quantization.scale = scales.astype(np.float32)
    tensor.quantization.zeroPoint = np.zeros(len(scales), np.int64)
    graph.tensors.append(tensor)
    return len(graph.tensors) - 1
