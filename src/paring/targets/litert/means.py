"""Means over the height and width of images, taken as the converter's images lie: channels last.

Of `x.mean((2, 3))` in a quantized network the converter makes a TRANSPOSE to NCHW and a MEAN over the last two axes.
Accelerators that compute on NHWC alone leave such a MEAN to the processor.
"""

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from paring.targets.litert import flatbuffer
from paring.targets.litert.graph import TO_NCHW, before, constant, sweep

_Operator = schema.BuiltinOperator


def unturn(model: Any) -> None:
    """Lets every MEAN read its image as it lies, in place, where it alone reads a turned one; answers stay.

    Args:
        model: a whole file, as `flatbuffer.read` gives it.
    """
    graph = model.subgraphs[0]
    for mean in [one for one in graph.operators if flatbuffer.builtin(model, one) == _Operator.MEAN]:
        turned = before(model, graph, int(mean.inputs[0]), _Operator.TRANSPOSE)
        axes = constant(model, graph, mean.inputs[1])
        if turned is None or axes is None or constant(model, graph, turned.inputs[1]) != TO_NCHW:
            continue
        if [axis % 4 for axis in axes] == [2, 3] and not mean.builtinOptions.keepDims:
            mean.inputs = [int(turned.inputs[0]), _axes(model, graph, [1, 2])]
    sweep(model, graph)


def _axes(model: Any, graph: Any, axes: list[int]) -> int:
    """The number of a new constant that holds axes."""
    buffer = schema.BufferT()
    buffer.data = np.array(axes, np.int32).view(np.uint8)
    model.buffers.append(buffer)
    tensor = schema.TensorT()
    tensor.name, tensor.type, tensor.shape, tensor.hasRank = b"axes", schema.TensorType.INT32, [len(axes)], True
    tensor.buffer = len(model.buffers) - 1
    graph.tensors.append(tensor)
    return len(graph.tensors) - 1
