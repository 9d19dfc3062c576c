"""The operators of a full-int8 `.tflite`, with what the rules of accelerators ask about them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from paring.targets.litert import flatbuffer
from paring.targets.litert.graph import constant

NAMES = {value: key for key, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)}
_TYPES = {value: key.lower() for key, value in vars(schema.TensorType).items() if isinstance(value, int)}
_PADDINGS = {schema.Padding.SAME: "SAME", schema.Padding.VALID: "VALID"}
_REDUCTIONS = {"MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD", "REDUCE_ALL", "REDUCE_ANY"}
_WEIGHTED = {"CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV"}
Pair = tuple[int, int]


@dataclass(frozen=True)
class Operator:
    """One operator, of a file or as it will be in one.

    Attributes:
        name: in the schema of TensorFlow Lite, e.g. `CONV_2D`.
        where: its first output in a file, or the layer of a model that it will come from.
        dtype: that it computes on; `float32` if any of its values are floats.
        image: shape of its first computed input, batch first and channels last.
        output: shape of its first output, likewise.
        kernel: height and width of a window.
        stride: likewise, of its steps.
        dilation: likewise.
        padding: `SAME`, `VALID`, or empty.
        axes: that are reduced.
        fused: the activation that it applies besides, as in the schema; empty for none.
        bytes: of its constants.
        source: the PyTorch operator that it will come from; empty in a file.
    """

    name: str
    where: str
    dtype: str = "int8"
    image: tuple[int, ...] = ()
    output: tuple[int, ...] = ()
    kernel: Pair = (1, 1)
    stride: Pair = (1, 1)
    dilation: Pair = (1, 1)
    padding: str = ""
    axes: tuple[int, ...] = ()
    fused: str = ""
    bytes: int = 0
    source: str = ""


def of_file(content: bytes) -> tuple[Operator, ...]:
    """The operators of a file, in the order that they run in."""
    return tuple(_operators(flatbuffer.read(content)))


def _operators(model: Any) -> Iterator[Operator]:
    graph = model.subgraphs[0]

    def stored(index: int) -> int:
        data = model.buffers[graph.tensors[index].buffer].data
        return 0 if data is None else len(data)

    def shape(index: int) -> tuple[int, ...]:
        return tuple(int(size) for size in np.atleast_1d(graph.tensors[index].shape if index >= 0 else []))

    for one in graph.operators:
        name, options = NAMES[flatbuffer.builtin(model, one)], one.builtinOptions
        inputs, outputs = [int(i) for i in one.inputs if int(i) >= 0], [int(i) for i in one.outputs]
        computed = [i for i in inputs if not stored(i)]
        types = [_TYPES[graph.tensors[i].type] for i in (*computed, *outputs)]
        axes = constant(model, graph, inputs[1]) if name in _REDUCTIONS else None
        images = [i for i in computed if len(shape(i)) > 1] or computed  # a transposed convolution reads a size first
        image = shape(images[0]) if images else ()
        yield Operator(
            name=name,
            where=graph.tensors[outputs[0]].name.decode(errors="replace"),
            dtype="float32" if "float32" in types else types[0],
            image=image,
            output=shape(outputs[0]),
            kernel=_kernel(name, options, shape(inputs[1]) if len(inputs) > 1 else ()),
            stride=(int(getattr(options, "strideH", 1)), int(getattr(options, "strideW", 1))),
            dilation=(int(getattr(options, "dilationHFactor", 1)), int(getattr(options, "dilationWFactor", 1))),
            padding=_PADDINGS.get(getattr(options, "padding", None), ""),
            axes=tuple(axis % max(len(image), 1) for axis in axes or ()),
            fused=_activation(getattr(options, "fusedActivationFunction", 0)),
            bytes=sum(stored(i) for i in inputs),
        )


def _kernel(name: str, options: Any, weight: tuple[int, ...]) -> Pair:
    if name in _WEIGHTED and len(weight) == 4:
        return weight[1], weight[2]
    return int(getattr(options, "filterHeight", 1)), int(getattr(options, "filterWidth", 1))


def _activation(number: int) -> str:
    names = {value: key for key, value in vars(schema.ActivationFunctionType).items() if isinstance(value, int)}
    return "" if number == schema.ActivationFunctionType.NONE else names[number]
