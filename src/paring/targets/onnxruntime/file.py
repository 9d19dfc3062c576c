"""The `.onnx` file itself: its names, its metadata, and what it holds."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from onnx_ir.passes.common import ClearMetadataAndDocStringPass, RemoveUnusedNodesPass

from paring.core.model import Json
from paring.core.target import Contents, FileTensor
from paring.targets.onnxruntime.graph import DEQUANTIZE, QUANTIZE, constant
from paring.targets.onnxruntime.integers import SHIFT
from paring.targets.onnxruntime.session import session
from paring.targets.zeros import share

METADATA = "paring"
FORMAT = 8  # of ONNX 1.13, which brought opset 18
_NAME = 24  # characters of a layer's name that are kept
# what gives values another shape or order and computes nothing
_MOVES = {"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Identity"}
_CODES = {onnx.TensorProto.INT8, onnx.TensorProto.UINT8}
_FLOATS = {onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE, onnx.TensorProto.FLOAT16}


def finish(model: Any, metadata: Json) -> bytes:
    """The file, without what the exporter noted on the way (paths and lines of source among it).

    Args:
        model: an `onnx_ir.Model`.
        metadata: JSON values, kept as text in the file's `metadata_props` under `paring`.
    """
    RemoveUnusedNodesPass()(model)
    _shorten_names(model.graph)
    ClearMetadataAndDocStringPass()(model)
    model.ir_version = FORMAT
    model.metadata_props[METADATA] = json.dumps(metadata, sort_keys=True)
    proto = ir.to_proto(model)
    del proto.graph.value_info[:]  # types and shapes between, which every reader infers
    content: bytes = proto.SerializeToString(deterministic=True)
    return content


def weight_scales(content: bytes) -> Iterator[tuple[float, ...]]:
    """The scales of each tensor that is stored in eight bits."""
    graph = ir.from_proto(onnx.load_from_string(content)).graph
    for node in graph:
        if node.op_type == DEQUANTIZE and node.inputs[0].dtype in (ir.DataType.INT8, ir.DataType.UINT8):
            scales = constant(node.inputs[1])
            if constant(node.inputs[0]) is not None and scales is not None:
                yield tuple(float(scale) for scale in scales.reshape(-1))


def stored(content: bytes) -> Iterator[FileTensor]:
    """Every tensor with stored values."""
    return (tensor for tensor in _tensors(ir.from_proto(onnx.load_from_string(content)).graph) if tensor.bytes)


def contents(path: Path) -> Contents:
    """Operators and tensors of a file, and what ONNX Runtime makes of them.

    Operators and tensors are those of the file. What runs on integers and what in float is read from the graph as ONNX
    Runtime itself fuses it, under the names that it uses there (`QLinearConv`); an operator that it takes apart counts
    once, by what it gives. Zero points are those of signed codes: where the file has uint8, its zero point less 128,
    so that they compare with other runtimes' int8.

    Raises:
        ParingError: it is no `.onnx` file, or ONNX Runtime refuses it.
    """
    session(path, str(path))
    proto = onnx.shape_inference.infer_shapes(onnx.load(path))
    with TemporaryDirectory() as folder:
        optimized = Path(folder) / "optimized.onnx"
        session(proto.SerializeToString(), str(path), optimized=optimized)
        quantized, in_float = _kinds(onnx.load(optimized))
    known = {name for node in proto.graph.node for name in node.output}
    return Contents(
        dict(Counter(node.op_type for node in proto.graph.node)),
        tuple(_tensors(ir.from_proto(proto).graph)),
        quantized,
        tuple(one for one in in_float if one[1] in known),
    )


def _kinds(proto: Any) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """How often each operator of a fused graph runs on integers, and those that compute on floats."""
    graph = proto.graph
    types = {value.name: value.type.tensor_type.elem_type for value in (*graph.input, *graph.value_info, *graph.output)}
    stored = {tensor.name for tensor in graph.initializer}
    quantized: Counter[str] = Counter()
    in_float = []
    for node in graph.node:
        fed = [name for name in node.input if name and name not in stored]
        kind = types.get(fed[0]) if fed else None  # a `QLinearConcat` begins with its scale, which is stored
        for name in node.output:
            types.setdefault(name, kind)  # values that fusing brought in have no type in the file
        if node.op_type in {QUANTIZE, DEQUANTIZE, "DynamicQuantizeLinear", *_MOVES}:
            continue
        if kind in _CODES:
            quantized[node.op_type] += 1
        elif kind in _FLOATS:
            in_float.append((node.op_type, node.output[0]))
    return dict(quantized), in_float


def _tensors(graph: Any) -> Iterator[FileTensor]:
    """Stored tensors, inputs, what operators compute; floats behind a `DequantizeLinear` stand for their codes."""
    scaled = _scales(graph)
    for value in (*graph.initializers.values(), *graph.inputs, *_computed(graph)):
        dtype = value.dtype.name.lower() if value.dtype is not None else ""
        sizes = value.shape if value.shape is not None else ()
        shape = tuple(size if isinstance(size, int) else 1 for size in sizes)
        scales, zero_points, axis = scaled.get(value.name, ((), (), 0))
        values = constant(value)
        size, zeros = 0, 0.0
        if values is not None:
            own = tuple(point + SHIFT for point in zero_points) if values.dtype == np.uint8 else zero_points
            size, zeros = value.const_value.nbytes, share(values, own, axis)
        yield FileTensor(value.name, dtype, shape, size, scales, zero_points, zeros)


def _computed(graph: Any) -> Iterator[Any]:
    for node in graph:
        if node.op_type != DEQUANTIZE:
            yield from node.outputs


def _scales(graph: Any) -> Mapping[str, tuple[tuple[float, ...], tuple[int, ...], int]]:
    """Scales, signed zero points and their axis of each tensor of codes, as the operators around it have them."""
    found = {}
    for node in graph:
        if node.op_type in {QUANTIZE, DEQUANTIZE}:
            codes = node.outputs[0] if node.op_type == QUANTIZE else node.inputs[0]
            scale = constant(node.inputs[1])
            zero_point = constant(node.inputs[2]) if len(node.inputs) > 2 else None
            if scale is None:
                continue
            zeros = np.zeros(scale.size, np.int64) if zero_point is None else zero_point.reshape(-1).astype(np.int64)
            if codes.dtype == ir.DataType.UINT8:
                zeros = zeros - SHIFT
            axis = node.attributes["axis"].as_int() if "axis" in node.attributes else 1
            found[codes.name] = tuple(map(float, scale.reshape(-1))), tuple(map(int, zeros)), axis
    return found


def _shorten_names(graph: Any) -> None:
    """Calls what an operator computes after its layer, with a number; what it is fed with after its number."""
    ends = [*graph.inputs, *graph.outputs]
    taken = {value.name for value in ends}
    layers: dict[Any, str] = {}
    for number, node in enumerate(graph):
        layer = _layer(node, layers)
        node.name = f"{layer}_{number}"
        for place, value in enumerate(node.outputs):
            layers[value] = layer
            if value not in ends:
                value.name = _free(node.name if place == 0 else f"{node.name}_{place}", taken)
    stored = list(graph.initializers.values())
    names = []
    for number, value in enumerate(stored):
        layer = value.name.removesuffix("_code")[-_NAME:].lstrip(".") if "." in value.name else "c"
        names.append(_free(f"{layer}_{number}", taken))
    for number, value in enumerate(stored):  # none may have a name that another gets, even for a while
        value.name = f"\0{number}"
    for value, name in zip(stored, names, strict=True):
        value.name = name


def _free(name: str, taken: set[str]) -> str:
    """The name, or one like it where that is taken; it is taken then."""
    while name in taken:
        name += "_"
    taken.add(name)
    return name


def _layer(node: Any, layers: Mapping[Any, str]) -> str:
    """The layer whose weight an operator takes; what quantizes is called after what it quantizes; else its kind."""
    if node.op_type in {QUANTIZE, DEQUANTIZE} and node.inputs[0] in layers:
        return layers[node.inputs[0]]
    for value in node.inputs:
        if value is not None and value.is_initializer() and "." in value.name:
            return str(value.name).rpartition(".")[0][-_NAME:].lstrip(".")
    dequantized = [value for value in node.inputs if value is not None and value in layers and _from_store(value)]
    return layers[dequantized[0]] if dequantized else str(node.op_type)


def _from_store(value: Any) -> bool:
    """Whether a value is a stored one, dequantized."""
    node = value.producer()
    return node is not None and node.op_type == DEQUANTIZE and node.inputs[0].is_initializer()
