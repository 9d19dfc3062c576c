"""What a `.tflite` holds: operators, tensors with their scales, and what runs on integers."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from paring.core.target import Array, Contents, FileTensor
from paring.targets.zeros import share

_TYPES = {value: key.lower() for key, value in vars(schema.TensorType).items() if isinstance(value, int)}
_OPERATORS = {value: key for key, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)}
_NUMBERS = {"float16", "float32", "float64", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"}
# operators that change the type of values, or their place, and compute nothing
_MOVES = {
    "CONCATENATION", "DEPTH_TO_SPACE", "DEQUANTIZE", "EXPAND_DIMS", "GATHER", "GATHER_ND", "MIRROR_PAD", "PACK", "PAD",
    "PADV2", "QUANTIZE", "RESHAPE", "REVERSE_V2", "SLICE", "SPACE_TO_DEPTH", "SPLIT", "SPLIT_V", "SQUEEZE",
    "STRIDED_SLICE", "TILE", "TRANSPOSE", "UNPACK",
}  # fmt: skip


def contents(content: bytes) -> Contents:
    """Operators and tensors of a file."""
    model = schema.Model.GetRootAs(content, 0)
    graph = model.Subgraphs(0)
    tensors = tuple(_tensor(model, graph, graph.Tensors(i)) for i in range(graph.TensorsLength()))
    counted, quantized, in_float = Counter[str](), Counter[str](), list[tuple[str, str]]()
    for i in range(graph.OperatorsLength()):
        operator = graph.Operators(i)
        code = model.OperatorCodes(operator.OpcodeIndex())
        name = _OPERATORS[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())]
        counted[name] += 1
        if name in _MOVES:
            continue
        read = [tensors[operator.Inputs(k)] for k in range(operator.InputsLength()) if operator.Inputs(k) >= 0]
        if any(one.scales and one.dtype in ("int4", "int8", "uint8", "int16") for one in read):
            quantized[name] += 1
        elif any(one.dtype == "float32" for one in read):
            in_float.append((name, tensors[operator.Outputs(0)].name))
    return Contents(dict(counted), tensors, dict(quantized), tuple(in_float))


def constants(content: bytes) -> Iterator[FileTensor]:
    """Every tensor with stored values, in the order of the file."""
    return (tensor for tensor in contents(content).tensors if tensor.bytes)


def operators(content: bytes) -> dict[str, int]:
    """How often each operator occurs, by its name in the schema."""
    return dict(contents(content).operators)


def _tensor(model: Any, graph: Any, tensor: Any) -> FileTensor:
    shape = tuple(int(size) for size in tensor.ShapeAsNumpy()) if tensor.ShapeLength() else ()
    scales, zero_points = tuple[float, ...](), tuple[int, ...]()
    quantization = tensor.Quantization()
    if quantization is not None and quantization.ScaleLength():
        scales = tuple(float(scale) for scale in quantization.ScaleAsNumpy())
        zero_points = tuple(int(point) for point in quantization.ZeroPointAsNumpy())
    elif quantization is not None and quantization.DetailsType() == schema.QuantizationDetails.BlockwiseQuantization:
        details = schema.BlockwiseQuantization()
        details.Init(quantization.Details().Bytes, quantization.Details().Pos)
        held = model.Buffers(graph.Tensors(details.Scales()).Buffer()).DataAsNumpy().view(np.float16)
        scales, zero_points = tuple(held.astype(float).tolist()), (0,) * len(held)
    buffer, dtype = model.Buffers(tensor.Buffer()), _TYPES[tensor.Type()]
    values = _values(buffer, dtype, shape) if buffer.DataLength() else None
    return FileTensor(
        tensor.Name().decode(errors="replace"),
        dtype,
        shape,
        buffer.DataLength(),
        scales,
        zero_points,
        0.0 if values is None else share(values, zero_points, quantization.QuantizedDimension() if quantization else 0),
    )


def _values(buffer: Any, dtype: str, shape: tuple[int, ...]) -> Array | None:
    """The numbers that a tensor stores; None of a type without numbers."""
    stored = buffer.DataAsNumpy()
    if dtype == "int4":  # two a byte, the first in the lower half
        halves = np.stack([stored & 0x0F, stored >> 4], 1).reshape(-1)[: int(np.prod(shape))]
        return ((halves.astype(np.int8) ^ 8) - 8).reshape(shape)
    if dtype not in _NUMBERS or stored.nbytes % np.dtype(dtype).itemsize:
        return None
    values = stored.view(dtype)
    return values.reshape(shape) if values.size == np.prod(shape) else None
