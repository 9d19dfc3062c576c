"""The `.tflite` file itself: its names, its metadata, float ends for an int8 body."""

import json
import re
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils

from paring.core.model import Json

METADATA = "paring"
_NAME = 24  # characters of a tensor's name that are kept
_ALIGNMENT = 16  # bytes
_CODES = {schema.TensorType.INT8, schema.TensorType.INT16}


def read(content: bytes) -> Any:
    """A whole file as objects that can be changed; `finish` writes them."""
    return flatbuffer_utils.read_model_from_bytearray(bytearray(content))


def finish(model: Any, inputs: list[str], outputs: list[str], metadata: Json, float_ends: bool) -> bytes:
    """The file with its signature's names, paring's metadata and, if asked for, float inputs and outputs.

    Args:
        model: a whole file, as `read` gives it; it is changed.
        inputs: names of the inputs, in the order of the signature.
        outputs: names of the outputs, likewise.
        metadata: JSON values that `read_metadata` gives back.
        float_ends: put a QUANTIZE after each input of codes and a DEQUANTIZE before each such output.
    """
    compact(model)
    _shorten_names(model.subgraphs[0])
    signature = model.signatureDefs[0]
    for ends, names in ((signature.inputs, inputs), (signature.outputs, outputs)):
        for end, name in zip(sorted(ends, key=_numbered), names, strict=True):
            end.name = name.encode()
    if float_ends:
        graph = model.subgraphs[0]
        for end in signature.inputs:
            end.tensorIndex = _float_input(model, graph, end.tensorIndex)
        for end in signature.outputs:
            end.tensorIndex = _float_output(model, graph, end.tensorIndex)
    write_metadata(model, METADATA, metadata)
    return packed(model)


def _numbered(end: Any) -> list[Any]:
    """The converter's order: it sorts by letters, `output_10` before `output_2`."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", end.name.decode())]


def compact(model: Any) -> None:
    """Takes out tensors, buffers and kinds of operators that nothing uses, in place.

    TensorFlow Lite Micro gives every tensor of a file memory, and code reads every kind of operator.
    """
    for number, graph in enumerate(model.subgraphs):
        ends = [
            end
            for signature in model.signatureDefs or []
            if signature.subgraphIndex == number
            for end in (*signature.inputs, *signature.outputs)
        ]
        lists = [(graph, "inputs"), (graph, "outputs")]
        lists += [(one, side) for one in graph.operators for side in ("inputs", "outputs", "intermediates")]
        used = {int(i) for owner, side in lists for i in _listed(owner, side)} | {int(end.tensorIndex) for end in ends}
        blocks = [details for i in used if i >= 0 and (details := _block(graph.tensors[i])) is not None]
        used |= {int(i) for details in blocks for i in (details.scales, details.zeroPoints)}
        kept = sorted(i for i in used if i >= 0)
        new = {old: place for place, old in enumerate(kept)} | {-1: -1}
        for owner, side in lists:
            if getattr(owner, side) is not None:
                setattr(owner, side, [new[int(i)] for i in _listed(owner, side)])
        for end in ends:
            end.tensorIndex = new[int(end.tensorIndex)]
        for details in blocks:
            details.scales, details.zeroPoints = new[int(details.scales)], new[int(details.zeroPoints)]
        graph.tensors = [graph.tensors[i] for i in kept]
    tensors = [tensor for graph in model.subgraphs for tensor in graph.tensors]
    owners = [*tensors, *(model.metadata or [])]
    kept = sorted({0, *(int(one.buffer) for one in owners), *(int(i) for i in _listed(model, "metadataBuffer"))})
    for one in owners:
        one.buffer = kept.index(int(one.buffer))
    if model.metadataBuffer is not None:
        model.metadataBuffer = [kept.index(int(i)) for i in model.metadataBuffer]
    model.buffers = [model.buffers[i] for i in kept]
    operators = [one for graph in model.subgraphs for one in graph.operators]
    kinds = sorted({int(one.opcodeIndex) for one in operators})
    for one in operators:
        one.opcodeIndex = kinds.index(int(one.opcodeIndex))
    model.operatorCodes = [model.operatorCodes[i] for i in kinds]


def _listed(owner: Any, side: str) -> list[int]:
    found = getattr(owner, side)
    return [] if found is None else [int(i) for i in found]


def _block(tensor: Any) -> Any:
    """What says where the scales of a tensor's blocks are; None where it has none."""
    held = tensor.quantization
    block = schema.QuantizationDetails.BlockwiseQuantization
    return held.details if held is not None and held.detailsType == block else None


def write_metadata(model: Any, name: str, values: Json) -> None:
    """Puts JSON values into a file, in place, where `read_metadata` finds them."""
    entry = schema.MetadataT()
    entry.name, entry.buffer = name.encode(), len(model.buffers)
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(json.dumps(values, sort_keys=True).encode(), np.uint8)
    model.buffers.append(buffer)
    model.metadata = [*(model.metadata or []), entry]


def packed(model: Any) -> bytes:
    """The file. Every constant begins at a multiple of 16 bytes, as the schema asks (`force_align`).

    The classes that Python has of the schema pay no heed to that; microcontrollers and accelerators read in place.
    """
    for index, buffer in enumerate(model.buffers):
        if buffer.data is not None and not isinstance(buffer, _Aligned):
            model.buffers[index] = _Aligned()
            model.buffers[index].data = buffer.data
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


class _Aligned(schema.BufferT):  # type: ignore[misc]  # the schema is untyped
    """A buffer that packs its data at a multiple of 16 bytes."""

    def Pack(self, builder: Any) -> Any:  # noqa: N802  # the schema's name
        """Appends it to a file; gives its place there."""
        data = np.asarray(self.data, np.uint8).tobytes()
        builder.StartVector(1, len(data), _ALIGNMENT)
        builder.head -= len(data)
        builder.Bytes[builder.head : builder.head + len(data)] = data
        vector = builder.EndVector()
        schema.BufferStart(builder)
        schema.BufferAddData(builder, vector)
        return schema.BufferEnd(builder)


def read_metadata(content: bytes, name: str = METADATA) -> Json:
    """What `finish`, or `write_metadata`, put there; None in a file of another maker."""
    model = schema.Model.GetRootAs(content, 0)
    for i in range(model.MetadataLength()):
        if model.Metadata(i).Name() == name.encode():
            return json.loads(model.Buffers(model.Metadata(i).Buffer()).DataAsNumpy().tobytes())
    return None


def builtin(model: Any, operator: Any) -> int:
    """The number of an operator in the schema."""
    code = model.operatorCodes[operator.opcodeIndex]
    return max(int(code.builtinCode), int(code.deprecatedBuiltinCode))


def _shorten_names(graph: Any) -> None:
    """Cuts a tensor's name to its last part and its number.

    The converter writes down every module and every operator that went into a tensor: in a small network that is more
    than a tenth of an int8 file.
    """
    for index, tensor in enumerate(graph.tensors):
        last = tensor.name.partition(b";")[0].rpartition(b"/")[2].rpartition(b".")[2]
        tensor.name = b"%s_%d" % (last[-_NAME:], index)


def _float_input(model: Any, graph: Any, index: int) -> int:
    if graph.tensors[index].type not in _CODES:
        return index
    new = float_twin(graph, index, b"_codes")
    graph.operators.insert(0, operator(model, schema.BuiltinOperator.QUANTIZE, new, index))
    graph.inputs = [new if i == index else int(i) for i in graph.inputs]
    return new


def _float_output(model: Any, graph: Any, index: int) -> int:
    if graph.tensors[index].type not in _CODES:
        return index
    new = float_twin(graph, index, b"_codes")
    graph.operators.append(operator(model, schema.BuiltinOperator.DEQUANTIZE, index, new))
    graph.outputs = [new if i == index else int(i) for i in graph.outputs]
    return new


def float_twin(graph: Any, index: int, mark: bytes) -> int:
    """A float32 tensor of the same shape, which takes over the name; the old one's gets a mark."""
    inner = graph.tensors[index]
    twin = schema.TensorT()
    twin.name, twin.shape, twin.shapeSignature = inner.name, inner.shape, inner.shapeSignature
    twin.type, twin.hasRank = schema.TensorType.FLOAT32, inner.hasRank
    inner.name = inner.name + mark
    graph.tensors.append(twin)
    return len(graph.tensors) - 1


def operator(model: Any, number: int, source: int, result: int) -> Any:
    """An operator of one tensor into another, by its number in the schema."""
    known = [code.builtinCode for code in model.operatorCodes]
    if number not in known:
        code = schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = number
        code.version = 1
        model.operatorCodes.append(code)
        known.append(number)
    operator = schema.OperatorT()
    operator.opcodeIndex, operator.inputs, operator.outputs = known.index(number), [source], [result]
    return operator
