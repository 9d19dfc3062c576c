"""Looking around in the graph of a `.tflite`, and taking out what nobody reads any more."""

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from paring.core.target import Array
from paring.targets.litert import flatbuffer

_Operator = schema.BuiltinOperator
_IDLE = {_Operator.PAD, _Operator.TRANSPOSE, _Operator.DEQUANTIZE, _Operator.RESHAPE}
TO_NCHW, TO_NHWC = [0, 3, 1, 2], [0, 2, 3, 1]


def before(model: Any, graph: Any, index: int, kind: int) -> Any:
    """The operator of that kind that gives a tensor which only one operator reads; else None."""
    if index in [int(i) for i in graph.outputs] or readers(graph, index) != 1:
        return None
    return maker(model, graph, index, kind)


def maker(model: Any, graph: Any, index: int, kind: int) -> Any:
    """The operator of that kind that gives a tensor, whoever reads it; else None."""
    found = next((one for one in graph.operators if index in [int(i) for i in one.outputs]), None)
    return found if found is not None and flatbuffer.builtin(model, found) == kind else None


def readers(graph: Any, index: int) -> int:
    """How often a tensor is read."""
    return sum(int(i) == index for one in graph.operators for i in one.inputs)


def constant(model: Any, graph: Any, index: int) -> list[int] | None:
    """A stored tensor of whole numbers, flat."""
    tensor = graph.tensors[int(index)]
    data = model.buffers[tensor.buffer].data
    types = {schema.TensorType.INT32: np.int32, schema.TensorType.INT64: np.int64}
    if data is None or tensor.type not in types:
        return None
    flat: Array = np.asarray(data, np.uint8).view(types[tensor.type])
    return [int(value) for value in flat]


def sweep(model: Any, graph: Any) -> None:
    """Takes out the pads, transpositions, reshapes and dequantized codes that nobody reads any more."""
    kept = {int(i) for i in graph.outputs}
    while unread := [
        one
        for one in graph.operators
        if flatbuffer.builtin(model, one) in _IDLE
        and not any(int(i) in kept or readers(graph, int(i)) for i in one.outputs)
    ]:
        graph.operators = [one for one in graph.operators if not any(one is other for other in unread)]
