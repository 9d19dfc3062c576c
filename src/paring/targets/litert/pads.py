"""Padding that convolutions do themselves: in a quantized graph the converter leaves it as an operator of its own.

It even turns the image round to NCHW for it and back again. What a model that comes from TensorFlow pads before a
convolution with a stride is the `SAME` padding that LiteRT's convolutions know.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from paring.targets.litert import flatbuffer
from paring.targets.litert.graph import TO_NCHW, TO_NHWC, constant, maker, sweep

_Operator = schema.BuiltinOperator
_CONVOLUTIONS = {_Operator.CONV_2D, _Operator.DEPTHWISE_CONV_2D}


def fuse(model: Any) -> None:
    """Lets every convolution pad by itself that reads a padded image, where that is `SAME`, in place.

    What else reads the image, padded or not, is left as it is. Zero is exact in the codes of both, and stays the
    value that is padded with; answers do not change.

    Args:
        model: a whole file, as `flatbuffer.read` gives it.
    """
    graph = model.subgraphs[0]
    _straighten(model, graph)
    for convolution in graph.operators:
        if flatbuffer.builtin(model, convolution) in _CONVOLUTIONS:
            source = _source(model, graph, convolution)
            if source is not None:
                convolution.inputs = [source, *(int(i) for i in convolution.inputs[1:])]
                convolution.builtinOptions.padding = schema.Padding.SAME
    sweep(model, graph)


def _straighten(model: Any, graph: Any) -> None:
    """Lets what reads an image that was turned round and back again read the image itself."""
    for back in [one for one in graph.operators if flatbuffer.builtin(model, one) == _Operator.TRANSPOSE]:
        there = maker(model, graph, int(back.inputs[0]), _Operator.TRANSPOSE)
        turns = None if there is None else constant(model, graph, there.inputs[1])
        returns = constant(model, graph, back.inputs[1])
        if there is None or turns is None or returns is None or [turns[axis] for axis in returns] != sorted(turns):
            continue
        source, result = int(there.inputs[0]), int(back.outputs[0])
        if _alike(graph.tensors[source], graph.tensors[result]):
            for reader in graph.operators:
                reader.inputs = [source if int(i) == result else int(i) for i in reader.inputs]


def _source(model: Any, graph: Any, convolution: Any) -> int | None:
    """The image that a convolution would read if it padded by itself; None where it cannot."""
    index = given = int(convolution.inputs[0])
    turned = _before_turn(model, graph, index, TO_NHWC)
    if turned is not None:
        index = turned
    pad = maker(model, graph, index, _Operator.PAD)
    amounts = None if pad is None else constant(model, graph, pad.inputs[1])
    if pad is None or amounts is None or convolution.builtinOptions.padding != schema.Padding.VALID:
        return None
    index = int(pad.inputs[0])
    sides = np.reshape(amounts, (-1, 2)).tolist()
    if turned is not None:
        back = _before_turn(model, graph, index, TO_NCHW)
        if back is None:
            return None
        index, sides = back, [sides[axis] for axis in TO_NHWC]
    fits = len(sides) == 4 and sides == _same(graph, convolution, [int(size) for size in graph.tensors[index].shape])
    return index if fits and _alike(graph.tensors[index], graph.tensors[given]) else None


def _before_turn(model: Any, graph: Any, index: int, order: Sequence[int]) -> int | None:
    """The image that was turned round into this one; None where it was not. Of one channel, that is a reshape."""
    turn = maker(model, graph, index, _Operator.TRANSPOSE)
    if turn is not None:
        return int(turn.inputs[0]) if constant(model, graph, turn.inputs[1]) == order else None
    turn = maker(model, graph, index, _Operator.RESHAPE)
    if turn is None:
        return None
    before, after = ([int(size) for size in graph.tensors[one].shape] for one in (int(turn.inputs[0]), index))
    one_channel = len(before) == 4 and before[1 if order == TO_NHWC else 3] == 1
    return int(turn.inputs[0]) if one_channel and [before[axis] for axis in order] == after else None


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


def _alike(one: Any, other: Any) -> bool:
    """Whether the numbers of two tensors mean the same."""
    scales = [
        (tensor.type, *(np.asarray(part if part is not None else []).tolist() for part in (held.scale, held.zeroPoint)))
        if (held := tensor.quantization) is not None
        else (tensor.type, [], [])
        for tensor in (one, other)
    ]
    return scales[0] == scales[1]
