"""The `.tflite` file itself: its metadata, its quantized tensors, float ends for an int8 body."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils

from paring.core.model import Json
from paring.core.target import Contents, FileTensor

METADATA = "paring"
_NAME = 24  # characters of a tensor's name that are kept


@dataclass(frozen=True)
class StoredTensor:
    """A constant of the file: its name, its type's name in the schema, its scales (one, or one per channel)."""

    name: str
    dtype: str
    scales: tuple[float, ...]


def finish(content: bytes, inputs: list[str], outputs: list[str], metadata: Json, float_ends: bool) -> bytes:
    """The file with its signature's names, paring's metadata and, if asked for, float inputs and outputs.

    Args:
        content: a whole `.tflite`.
        inputs: names of the inputs, in the order of the signature.
        outputs: names of the outputs, likewise.
        metadata: JSON values that `read_metadata` gives back.
        float_ends: put a QUANTIZE after each int8 input and a DEQUANTIZE before each int8 output.
    """
    model = flatbuffer_utils.read_model_from_bytearray(bytearray(content))
    _shorten_names(model.subgraphs[0])
    signature = model.signatureDefs[0]
    for ends, names in ((signature.inputs, inputs), (signature.outputs, outputs)):
        for end, name in zip(ends, names, strict=True):
            end.name = name.encode()
    if float_ends:
        graph = model.subgraphs[0]
        for end in signature.inputs:
            end.tensorIndex = _float_input(model, graph, end.tensorIndex)
        for end in signature.outputs:
            end.tensorIndex = _float_output(model, graph, end.tensorIndex)
    entry = schema.MetadataT()
    entry.name, entry.buffer = METADATA.encode(), len(model.buffers)
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(json.dumps(metadata, sort_keys=True).encode(), np.uint8)
    model.buffers.append(buffer)
    model.metadata = [*(model.metadata or []), entry]
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def read_metadata(content: bytes) -> Json:
    """What `finish` put there; None in a file of another maker."""
    model = schema.Model.GetRootAs(content, 0)
    for i in range(model.MetadataLength()):
        if model.Metadata(i).Name() == METADATA.encode():
            return json.loads(model.Buffers(model.Metadata(i).Buffer()).DataAsNumpy().tobytes())
    return None


def constants(content: bytes) -> Iterator[StoredTensor]:
    """Every tensor with stored values, in the order of the file."""
    names = {value: key.lower() for key, value in vars(schema.TensorType).items() if isinstance(value, int)}
    model = schema.Model.GetRootAs(content, 0)
    graph = model.Subgraphs(0)
    for i in range(graph.TensorsLength()):
        tensor = graph.Tensors(i)
        if model.Buffers(tensor.Buffer()).DataLength():
            quantization = tensor.Quantization()
            scales = quantization.ScaleAsNumpy() if quantization and quantization.ScaleLength() else ()
            yield StoredTensor(tensor.Name().decode(), names[tensor.Type()], tuple(float(s) for s in scales))


def contents(content: bytes) -> Contents:
    """Operators and tensors of the file."""
    names = {value: key.lower() for key, value in vars(schema.TensorType).items() if isinstance(value, int)}
    model = schema.Model.GetRootAs(content, 0)
    graph, found = model.Subgraphs(0), []
    for i in range(graph.TensorsLength()):
        tensor = graph.Tensors(i)
        shape = tuple(int(size) for size in tensor.ShapeAsNumpy()) if tensor.ShapeLength() else ()
        stored = model.Buffers(tensor.Buffer()).DataLength()
        found.append(FileTensor(tensor.Name().decode(errors="replace"), names[tensor.Type()], shape, stored))
    return Contents(operators(content), tuple(found))


def operators(content: bytes) -> dict[str, int]:
    """How often each operator occurs, by its name in the schema."""
    names = {value: key for key, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)}
    model = schema.Model.GetRootAs(content, 0)
    graph, count = model.Subgraphs(0), dict[str, int]()
    for i in range(graph.OperatorsLength()):
        code = model.OperatorCodes(graph.Operators(i).OpcodeIndex())
        name = names[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())]
        count[name] = count.get(name, 0) + 1
    return count


def _shorten_names(graph: Any) -> None:
    """Cuts a tensor's name to its last part and its number.

    The converter writes down every module and every operator that went into a tensor: in a small network that is more
    than a tenth of an int8 file.
    """
    for index, tensor in enumerate(graph.tensors):
        last = tensor.name.partition(b";")[0].rpartition(b"/")[2].rpartition(b".")[2]
        tensor.name = b"%s_%d" % (last[-_NAME:], index)


def _float_input(model: Any, graph: Any, index: int) -> int:
    if graph.tensors[index].type != schema.TensorType.INT8:
        return index
    new = _float_twin(graph, index)
    graph.operators.insert(0, _operator(model, schema.BuiltinOperator.QUANTIZE, new, index))
    graph.inputs = [new if i == index else int(i) for i in graph.inputs]
    return new


def _float_output(model: Any, graph: Any, index: int) -> int:
    if graph.tensors[index].type != schema.TensorType.INT8:
        return index
    new = _float_twin(graph, index)
    graph.operators.append(_operator(model, schema.BuiltinOperator.DEQUANTIZE, index, new))
    graph.outputs = [new if i == index else int(i) for i in graph.outputs]
    return new


def _float_twin(graph: Any, index: int) -> int:
    """A float32 tensor of the same shape; the file's name for the end goes over to it."""
    inner = graph.tensors[index]
    twin = schema.TensorT()
    twin.name, twin.shape, twin.shapeSignature = inner.name, inner.shape, inner.shapeSignature
    twin.type, twin.hasRank = schema.TensorType.FLOAT32, inner.hasRank
    inner.name = inner.name + b"_int8"
    graph.tensors.append(twin)
    return len(graph.tensors) - 1


def _operator(model: Any, builtin: int, source: int, result: int) -> Any:
    known = [code.builtinCode for code in model.operatorCodes]
    if builtin not in known:
        code = schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = builtin
        code.version = 1
        model.operatorCodes.append(code)
        known.append(builtin)
    operator = schema.OperatorT()
    operator.opcodeIndex, operator.inputs, operator.outputs = known.index(builtin), [source], [result]
    return operator
