"""Factors that the converter multiplied into a weight, taken out again, so that the weight is the layer's own.

Where x · g + c is all that a FULLY_CONNECTED reads, g and c constants (the affine part of a layer norm), the converter
writes FULLY_CONNECTED(x, W · diag(g), b + W c), also where the sum is computed all the same because others read it.
W · diag(g) lies on no grid that W lay on. Here the operator gets x · g and W; the bias stays, as W c is still in it.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from paring.core.target import Array
from paring.targets.litert import flatbuffer

_Operator = schema.BuiltinOperator
_CLOSE = 1e-5  # relative, between what a product in float32 gives here and in the converter


def unfold(model: Any, weights: Iterable[Array]) -> None:
    """Gives every FULLY_CONNECTED that holds W · diag(g) the W, in place.

    Args:
        model: a whole file, as `flatbuffer.read` gives it.
        weights: W of the layers that were not found, float32, shape (outputs, inputs).
    """
    graph = model.subgraphs[0]
    wanted = [weight for weight in weights if weight.ndim == 2]
    for reader in [one for one in graph.operators if flatbuffer.builtin(model, one) == _Operator.FULLY_CONNECTED]:
        held = _constant(model, graph, int(reader.inputs[1]))
        if held is None:
            continue
        for position, weight in enumerate(wanted):
            factors = _factors(weight, held)
            if factors is not None:
                reader.inputs = [_product(model, graph, reader, factors), *(int(i) for i in reader.inputs[1:])]
                _put(model, graph, int(reader.inputs[1]), weight)
                del wanted[position]
                break


def _factors(weight: Array, held: Array) -> Array | None:
    """g, shape (inputs,), where `held` is `weight` · diag(g) and g is not 1; None where it is not."""
    if held.shape != weight.shape:
        return None
    rows, columns = np.abs(weight).argmax(0), np.arange(weight.shape[1])
    largest = weight[rows, columns]
    factors: Array = np.where(largest == 0, 1, held[rows, columns] / np.where(largest == 0, 1, largest))
    factors = factors.astype(np.float32)
    same = np.allclose(weight * factors, held, rtol=_CLOSE, atol=_CLOSE * float(np.abs(held).max(initial=0)))
    return factors if same and not np.array_equal(held, weight) else None


def _product(model: Any, graph: Any, reader: Any, factors: Array) -> int:
    """The tensor that holds the reader's input times the factors: one that is there already, or a new one."""
    source, before = int(reader.inputs[0]), graph.operators.index(reader)
    for operator in graph.operators[:before]:
        if flatbuffer.builtin(model, operator) == _Operator.MUL and source in [int(i) for i in operator.inputs]:
            (other,) = [int(i) for i in operator.inputs if int(i) != source] or [source]
            found = _constant(model, graph, other)
            if found is not None and found.shape == factors.shape and np.allclose(found, factors, rtol=_CLOSE):
                return int(operator.outputs[0])
    constant = schema.TensorT()
    constant.name, constant.type, constant.hasRank = b"factors", schema.TensorType.FLOAT32, True
    constant.shape, constant.buffer = list(factors.shape), _stored(model, factors)
    graph.tensors.append(constant)
    inner, product = graph.tensors[source], schema.TensorT()
    product.name, product.shape, product.shapeSignature = b"scaled", inner.shape, inner.shapeSignature
    product.type, product.hasRank = schema.TensorType.FLOAT32, inner.hasRank
    graph.tensors.append(product)
    result = len(graph.tensors) - 1
    operator = flatbuffer.operator(model, _Operator.MUL, source, result)
    operator.inputs = [source, result - 1]
    operator.builtinOptionsType, operator.builtinOptions = schema.BuiltinOptions.MulOptions, schema.MulOptionsT()
    graph.operators.insert(before, operator)
    return result


def _constant(model: Any, graph: Any, index: int) -> Array | None:
    """A stored float32 tensor."""
    tensor = graph.tensors[index]
    data = model.buffers[tensor.buffer].data
    if tensor.type != schema.TensorType.FLOAT32 or data is None or not len(data):
        return None
    return np.asarray(data, np.uint8).view(np.float32).reshape([int(size) for size in tensor.shape])


def _put(model: Any, graph: Any, index: int, values: Array) -> None:
    """Gives a tensor other values; the buffer is left to others that share it."""
    tensor, new = graph.tensors[index], _stored(model, values)
    if [int(one.buffer) for one in graph.tensors].count(int(tensor.buffer)) == 1:
        model.buffers[tensor.buffer].data = None
    tensor.buffer = new


def _stored(model: Any, values: Array) -> int:
    """The number of a new buffer with these values."""
    buffer = schema.BufferT()
    buffer.data = np.ascontiguousarray(values, np.float32).view(np.uint8).reshape(-1)
    model.buffers.append(buffer)
    return len(model.buffers) - 1
