"""Padding that convolutions do themselves: in a quantized graph the converter leaves it as an operator of its own.

It even turns the image round to NCHW for it and back again. What a model that comes from TensorFlow pads before a
convolution with a stride is the `SAME` padding that LiteRT's convolutions know.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from paring.core.target import Array
from paring.targets.litert import flatbuffer

_Operator = schema.BuiltinOperator
_CONVOLUTIONS = {_Operator.CONV_2D, _Operator.DEPTHWISE_CONV_2D}
_TO_NCHW, _TO_NHWC = [0, 3, 1, 2], [0, 2, 3, 1]


def fuse(model: Any) -> None:
    """Lets every convolution pad by itself that reads nothing but a padded image, where that is `SAME`, in place.

    Zero is exact in the codes of both, and stays the value that is padded with; answers do not change.

    Args:
        model: a whole file, as `flatbuffer.read` gives it.
    """
    graph = model.subgraphs[0]
    for convolution in graph.operators:
        if flatbuffer.builtin(model, convolution) in _CONVOLUTIONS:
            source = _source(model, graph, convolution)
            if source is not None:
                convolution.inputs = [source, *(int(i) for i in convolution.inputs[1:])]
                convolution.builtinOptions.padding = schema.Padding.SAME
    _sweep(model, graph)


def _source(model: Any, graph: Any, convolution: Any) -> int | None:
    """The image that a convolution would read if it padded by itself; None where it cannot."""
    index = given = int(convolution.inputs[0])
    turned = _before(model, graph, index, _Operator.TRANSPOSE)
    if turned is not None:
        if _constant(model, graph, turned.inputs[1]) != _TO_NHWC:
            return None
        index = int(turned.inputs[0])
    pad = _before(model, graph, index, _Operator.PAD)
    amounts = None if pad is None else _constant(model, graph, pad.inputs[1])
    if pad is None or amounts is None or convolution.builtinOptions.padding != schema.Padding.VALID:
        return None
    index = int(pad.inputs[0])
    sides = np.reshape(amounts, (-1, 2)).tolist()
    if turned is not None:
        back = _before(model, graph, index, _Operator.TRANSPOSE)
        if back is None or _constant(model, graph, back.inputs[1]) != _TO_NCHW:
            return None
        index, sides = int(back.inputs[0]), [sides[axis] for axis in _TO_NHWC]
    fits = len(sides) == 4 and sides == _same(graph, convolution, [int(size) for size in graph.tensors[index].shape])
    return index if fits and _alike(graph.tensors[index], graph.tensors[given]) else None


def _same(graph: Any, convolution: Any, shape: Sequence[int]) -> list[list[int]]:
    """What `SAME` adds before and behind each dimension (NHWC) of an image of that shape."""
    options, kernel = (
        convolution.builtinOptions,
        [int(size) for size in graph.tensors[int(convolution.inputs[1])].shape],
    )
    found = [[0, 0]]
    for size, extent, step, spread in (
        (shape[1], kernel[1], options.strideH, options.dilationHFactor),
        (shape[2], kernel[2], options.strideW, options.dilationWFactor),
    ):
        more = max((-(-size // step) - 1) * step + (extent - 1) * spread + 1 - size, 0)
        found.append([more // 2, more - more // 2])
    return [*found, [0, 0]]


def _before(model: Any, graph: Any, index: int, kind: int) -> Any:
    """The operator of that kind that gives a tensor which only one operator reads; else None."""
    if index in [int(i) for i in graph.outputs] or _readers(graph, index) != 1:
        return None
    found = next((one for one in graph.operators if index in [int(i) for i in one.outputs]), None)
    return found if found is not None and flatbuffer.builtin(model, found) == kind else None


def _readers(graph: Any, index: int) -> int:
    return sum(int(i) == index for one in graph.operators for i in one.inputs)


def _constant(model: Any, graph: Any, index: int) -> list[int] | None:
    """A stored tensor of whole numbers, flat."""
    tensor = graph.tensors[int(index)]
    data = model.buffers[tensor.buffer].data
    types = {schema.TensorType.INT32: np.int32, schema.TensorType.INT64: np.int64}
    if data is None or tensor.type not in types:
        return None
    flat: Array = np.asarray(data, np.uint8).view(types[tensor.type])
    return [int(value) for value in flat]


def _alike(one: Any, other: Any) -> bool:
    """Whether the numbers of two tensors mean the same."""
    scales = [
        (tensor.type, *(np.asarray(part if part is not None else []).tolist() for part in (held.scale, held.zeroPoint)))
        if (held := tensor.quantization) is not None
        else (tensor.type, [], [])
        for tensor in (one, other)
    ]
    return scales[0] == scales[1]


def _sweep(model: Any, graph: Any) -> None:
    """Takes out the pads and transpositions that nobody reads any more."""
    kept = {int(i) for i in graph.outputs}
    while unread := [
        one
        for one in graph.operators
        if flatbuffer.builtin(model, one) in {_Operator.PAD, _Operator.TRANSPOSE}
        and not any(int(i) in kept or _readers(graph, int(i)) for i in one.outputs)
    ]:
        graph.operators = [one for one in graph.operators if not any(one is other for other in unread)]
