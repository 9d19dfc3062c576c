"""What a `.pte` holds: the program's own operators and tensors, and those of XNNPACK's graphs in it."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np

from paring.core.model import Json
from paring.core.quiet import quiet
from paring.core.target import Contents, FileTensor
from paring.targets.executorch.flatbuffer import Schema
from paring.targets.zeros import share

with quiet():
    from executorch.backends.xnnpack.serialization.xnnpack_graph_serialize import XNNHeader
    from executorch.exir import schema
    from executorch.exir._serialize import _program

METADATA = "paring"
"""Name of the constant method that answers with paring's metadata."""
NO_DIGEST = "0" * 64
DIGEST_KEY = b'"sha256": "'

# type of XNNPACK's, or of ExecuTorch's own -> numpy's
_NUMBERS = {
    "fp32": "float32", "fp16": "float16", "qint8": "int8", "qcint8": "int8", "quint8": "uint8", "qint32": "int32",
    "qcint32": "int32", "float": "float32", "half": "float16", "double": "float64", "char": "int8", "byte": "uint8",
    "short": "int16", "int": "int32", "long": "int64",
}  # fmt: skip
_INTEGER = {"qint8", "quint8", "qcint8", "qcint4", "qbint4", "qdint8", "qpint8"}
FLOATS = {"FLOAT", "HALF", "DOUBLE", "BFLOAT16"}
# what only moves or converts values computes nothing
_MOVES = {"Convert", "Copy", "StaticReshape", "StaticTranspose"}
_KERNEL_MOVES = (
    "executorch_prim::", "dim_order_ops::", "aten::view_copy", "aten::permute_copy", "aten::transpose_copy",
    "aten::squeeze_copy", "aten::unsqueeze_copy", "aten::expand_copy", "aten::clone", "aten::slice_copy",
    "aten::select_copy", "aten::split", "aten::unbind_copy", "aten::alias_copy", "aten::full", "aten::arange",
    "aten::scalar_tensor",
)  # fmt: skip


@dataclass(frozen=True)
class Call:
    """An operator of a file.

    Attributes:
        operator: `Conv2d` of XNNPACK's, `aten::embedding.out` of ExecuTorch's own kernels.
        output: name of its first output.
        kind: `integer` or `float`, by what it computes on; empty for one that computes on neither.
        handle: number that XNNPACK's graph has for the node that it came from.
    """

    operator: str
    output: str
    kind: str
    handle: int = 0


@dataclass(frozen=True)
class Delegate:
    """One of XNNPACK's graphs.

    Attributes:
        calls: its operators, in order.
        tensors: all of them.
        ends: place among what the graph is given and gives -> the tensor there.
    """

    calls: tuple[Call, ...]
    tensors: tuple[FileTensor, ...]
    ends: dict[int, FileTensor] = field(default_factory=dict)


def xnnpack(payload: bytes, data: dict[str, bytes], name: str) -> Delegate:
    """The graph that a delegate's bytes hold.

    Args:
        payload: the delegate's bytes.
        data: the file's stored values by key.
        name: put before the numbers that tensors have instead of names.

    Raises:
        ValueError, struct.error, KeyError: these are no such bytes.
    """
    head = XNNHeader.from_bytes(payload[: XNNHeader.EXPECTED_LENGTH])
    graph = _schema().read(payload[head.flatbuffer_offset : head.flatbuffer_offset + head.flatbuffer_size])
    constants = [one["named_key"] for one in graph["constant_data"]]
    tensors, ends = dict[int, FileTensor](), dict[int, FileTensor]()
    for value in graph["xvalues"]:
        label, table = value["xvalue_union"]
        plain = table if label == "XNNTensorValue" else table["tensor_value"]
        scales, zero_points = _scales(None if plain is table else table["quant_params"], constants, data)
        key = constants[plain["constant_buffer_idx"]]
        dtype = plain["datatype"].removeprefix("xnn_datatype_")
        stored = data[key] if key else b""
        tensors[plain["id_out"]] = FileTensor(
            f"{name}/{plain['id_out']}",
            dtype,
            tuple(plain["dims"]),
            len(stored),
            scales,
            zero_points,
            _zeros(stored, dtype, zero_points),
        )
        if plain["flags"]:  # it is the graph's input or output
            ends[plain["external_id"]] = tensors[plain["id_out"]]
    calls = [_call(one, tensors) for one in graph["xnodes"]]
    return Delegate(tuple(calls), tuple(tensors.values()), ends)


def _call(node: dict[str, Any], tensors: dict[int, FileTensor]) -> Call:
    label, table = node["xnode_union"]
    operator = label.removeprefix("XNN")
    ids = {field: number for field, number in table.items() if field.endswith("_id") and number in tensors}
    outputs = [number for field, number in ids.items() if field.startswith("output")]
    # a bias is int32 or, beside activations quantized as they come, float: it does not tell
    read = [tensors[number].dtype for field, number in ids.items() if not field.startswith(("output", "bias"))]
    count = {"Concatenate2": 2, "Concatenate3": 3, "Concatenate4": 4, "Concatenate5": 5}.get(operator, len(read))
    kind = "integer" if all(dtype in _INTEGER for dtype in read[:count]) else "float"
    return Call(operator, tensors[outputs[0]].name, "" if operator in _MOVES else kind, node["debug_handle"])


def _zeros(stored: bytes, dtype: str, zero_points: tuple[int, ...] = ()) -> float:
    """The share of stored values that stand for 0; of codes with a zero point each, these are all 0."""
    kind = _NUMBERS.get(dtype)
    if kind is None or len(stored) % np.dtype(kind).itemsize:
        return 0.0
    return share(np.frombuffer(stored, kind), zero_points[:1])


def _scales(
    parameters: tuple[str, dict[str, Any]] | None, constants: list[str], data: dict[str, bytes]
) -> tuple[tuple[float, ...], tuple[int, ...]]:
    if parameters is None or "Dynamic" in parameters[0]:
        return (), ()
    label, table = parameters
    if label == "PerTensorQuant":
        return (table["scale"],), (table["zero_point"],)
    found = table["scale"]
    if table["scale_buffer_idx"]:
        stored = data[constants[table["scale_buffer_idx"]]]
        if label == "PerChannelGroupQuant":  # bfloat16, the upper half of a float32
            found = (np.frombuffer(stored, np.uint16).astype(np.uint32) << 16).view(np.float32)
        else:
            found = np.frombuffer(stored, np.float32)[: table["num_scales"]]
    return tuple(float(scale) for scale in found), (0,) * len(found)


def metadata(content: bytes) -> Json:
    """What paring wrote into the file; None in a file of another maker."""
    for plan in _read(content).program.execution_plan:
        if plan.name == METADATA:
            return json.loads(plan.values[plan.outputs[0]].val.string_val)
    return None


def signed(content: bytes) -> bytes:
    """The file with the digest of everything else in the place that its metadata left for it."""
    return content.replace(NO_DIGEST.encode(), hashlib.sha256(content).hexdigest().encode())


def intact(content: bytes, digest: str) -> bool:
    """Whether the file is as it was written."""
    return hashlib.sha256(content.replace(digest.encode(), NO_DIGEST.encode())).hexdigest() == digest


def contents(content: bytes) -> Contents:
    """Operators and tensors of the file.

    Raises:
        Exception: of any kind; the file is damaged.
    """
    file = _read(content)
    program, data = file.program, _named(file)
    plan = next(plan for plan in program.execution_plan if plan.name == "forward")
    graphs = [
        xnnpack(program.backend_delegate_data[one.processed.index].data, data, f"xnnpack{i}")
        if one.id == "XnnpackBackend"
        else Delegate((Call(one.id, f"delegate{i}", ""),), ())
        for i, one in enumerate(plan.delegates)
    ]
    calls = list(_calls(plan, graphs))
    meanings, own = _meanings(plan, graphs), []
    for place, tensor, stored in _tensors(plan, program):
        scales, points = (known.scales, known.zero_points) if (known := meanings.get(place)) else ((), ())
        zeros = _zeros(stored, tensor.dtype, points)
        own.append(replace(tensor, scales=scales, zero_points=points, zeros=zeros))
    tensors = [*own, *(tensor for graph in graphs for tensor in graph.tensors)]
    floats = [call for call in calls if call.kind == "float"]
    names = (metadata(content) or {}).get("in_float", [])
    names = names if len(names) == len(floats) else [call.output for call in floats]
    return Contents(
        operators=_counted(call.operator for call in calls),
        tensors=tuple(tensors),
        quantized=_counted(call.operator for call in calls if call.kind == "integer"),
        in_float=tuple((call.operator, name) for call, name in zip(floats, names, strict=True)),
    )


def kernel_kind(operator: str, types: Sequence[str]) -> str:
    """What a kernel of ExecuTorch's own computes on, by the names of its tensors' types; see `Call.kind`."""
    if operator.startswith(_KERNEL_MOVES):
        return ""
    return "float" if FLOATS & set(types) else "integer" if {"CHAR", "BYTE"} & set(types) else ""


def _calls(plan: Any, graphs: list[Delegate]) -> Iterator[Call]:
    """In the order in which they run."""
    for instruction in plan.chains[0].instructions:
        step = instruction.instr_args
        if isinstance(step, schema.DelegateCall):
            yield from graphs[step.delegate_index].calls
        elif isinstance(step, schema.KernelCall):
            known = plan.operators[step.op_index]
            name = f"{known.name}.{known.overload}" if known.overload else known.name
            values = [plan.values[i].val for i in step.args]
            types = [value.scalar_type.name for value in values if isinstance(value, schema.Tensor)]
            yield Call(name, f"value/{step.args[-1]}", kernel_kind(name, types))


def _tensors(plan: Any, program: Any) -> Iterator[tuple[int, FileTensor, bytes]]:
    """The program's own: place among its values, the tensor, what is stored in it."""
    for i, one in enumerate(plan.values):
        if isinstance(one.val, schema.Tensor):
            index = one.val.data_buffer_idx
            stored = bytes(program.constant_buffer[index].storage) if index else b""
            dtype = one.val.scalar_type.name.lower()
            yield i, FileTensor(f"value/{i}", dtype, tuple(one.val.sizes), len(stored)), stored


def _meanings(plan: Any, graphs: list[Delegate]) -> dict[int, FileTensor]:
    """Place of a value of the program -> the same in the XNNPACK graph that takes or gives it, with its scale."""
    return {
        step.args[place]: end
        for step in (one.instr_args for one in plan.chains[0].instructions)
        if isinstance(step, schema.DelegateCall)
        for place, end in graphs[step.delegate_index].ends.items()
    }


def _read(content: bytes) -> Any:
    return _program.deserialize_pte_binary(content)


def _named(file: Any) -> dict[str, bytes]:
    store = file.named_data
    return {key: store.buffers[one.buffer_index] for key, one in store.pte_data.items()} if store else {}


def _counted(names: Iterator[str]) -> dict[str, int]:
    count: dict[str, int] = {}
    for name in names:
        count[name] = count.get(name, 0) + 1
    return count


@cache
def _schema() -> Schema:
    return Schema((files("executorch.backends.xnnpack.serialization") / "schema.fbs").read_text())
