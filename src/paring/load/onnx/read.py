"""From a file to a graph, and everything for which a file is refused.

Only data are read: the protocol buffer by `onnx`, and external tensors that lie beside it, by `onnx_ir`.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir
from onnx_ir.passes.common import InlinePass, RemoveInitializersFromInputsPass, RemoveUnusedNodesPass

from paring.core.errors import ParingError
from paring.load.onnx.tables import OPERATORS

OLDEST = 11
_AGAIN = "copy the file again, or export it again"
_QUANTIZED = {
    "QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "QLinearConv", "QLinearMatMul", "ConvInteger",
    "MatMulInteger", "MatMulNBits", "QAttention", "QLinearAdd", "DynamicQuantizeMatMul",
}  # fmt: skip
_CONTROL = {"Loop", "Scan"}
_OWN = ("", "ai.onnx")


def read(path: Path) -> tuple[Any, int]:
    """The graph of a file as an `onnx_ir.Model`, functions put in place, and its opset.

    Raises:
        ParingError: it is damaged or no ONNX file, too old or too new, quantized, in half precision, its data lie
            elsewhere or are missing, or it has operators that are not known: all of them are named.
    """
    where = f"onnx:{path}"
    if not path.is_file():
        raise ParingError("there is no such file", where, "check the path")
    try:
        proto = onnx.load(path, load_external_data=False)
    except Exception as error:  # protobuf raises several kinds
        raise ParingError("is damaged, or not an ONNX file", where, _AGAIN) from error
    opset = _opset(proto, where)
    _external(proto, path, where)
    try:
        model = ir.from_proto(proto)
        ir.external_data.set_base_dir(model.graph, path.absolute().parent)
        InlinePass()(model)
        RemoveInitializersFromInputsPass()(model)
        RemoveUnusedNodesPass()(model)
    except Exception as error:  # likewise
        raise ParingError(f"is damaged: {_line(error)}", where, _AGAIN) from error
    _known(model.graph, where)
    return model, opset


def _opset(proto: Any, where: str) -> int:
    if not proto.graph.node or not proto.graph.output:
        raise ParingError("holds no operators", where, _AGAIN)
    newest, format_ = onnx.defs.onnx_opset_version(), onnx.IR_VERSION
    opset = next((one.version for one in proto.opset_import if one.domain in _OWN), 0)
    if proto.ir_version > format_ or opset > newest:
        raise ParingError(
            f"has opset {opset} in format {proto.ir_version}, known are those up to {newest} and {format_}",
            where,
            "update onnx and onnxruntime, or export it again with an older opset_version",
        )
    if opset < OLDEST:
        raise ParingError(
            f"has opset {opset}, the oldest that is read is {OLDEST}",
            where,
            "export it again with opset_version=18, or onnx.version_converter.convert_version(onnx.load(FILE), 18)",
        )
    return int(opset)


def _external(proto: Any, path: Path, where: str) -> None:
    """Data in other files must lie in the folder of the file, and be all there."""
    folder = path.absolute().parent.resolve()
    for tensor in _tensors(proto.graph):
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            continue
        said = {entry.key: entry.value for entry in tensor.external_data}
        location = said.get("location", "")
        file = (folder / location).resolve()
        if not location or Path(location).is_absolute() or not file.is_relative_to(folder):
            raise ParingError(
                f"the data of {tensor.name} lie outside its folder: {location!r}",
                where,
                "only files beside it are read",
            )
        if not file.is_file():
            raise ParingError(
                f"its data file {location} is missing", where, "copy it beside the .onnx file, under this name"
            )
        size = file.stat().st_size
        offset, length = (int(text) if (text := said.get(key, "0")).isdigit() else -1 for key in ("offset", "length"))
        if offset < 0 or length < 0 or offset + length > size:
            raise ParingError(
                f"its data file {location} has {size} bytes, {tensor.name} ends at {offset + length}", where, _AGAIN
            )


def _tensors(graph: Any) -> Iterator[Any]:
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            for inner in (attribute.g, *attribute.graphs):
                yield from _tensors(inner)


def _known(graph: Any, where: str) -> None:
    """Refuses what cannot be rebuilt, all of it in one message."""
    nodes = list(_nodes(graph))
    _no_halves(graph, where)
    quantized = _named(node for node in nodes if node.op_type in _QUANTIZED)
    if quantized:
        raise ParingError(
            f"is quantized ({_listed(quantized)})", where, "give the float model; `quantize` steps do it in paring"
        )
    loops = _named(node for node in nodes if node.op_type in _CONTROL)
    if loops:
        raise ParingError(f"has loops ({_listed(loops)})", where, "export the model without control flow")
    foreign = _named(node for node in nodes if node.domain not in _OWN)
    unknown = _named(node for node in nodes if node.domain in _OWN and node.op_type not in (*OPERATORS, "If"))
    if foreign or unknown:
        remedy = "export the model with the standard operators"
        if any(kind.startswith(("com.microsoft", "ai.onnx.contrib")) for kind in foreign):
            remedy = "give the file as it was before ONNX Runtime optimized it"
        raise ParingError(f"operators that are not known: {_listed({**unknown, **foreign})}", where, remedy)


def _nodes(graph: Any) -> Iterator[Any]:
    yield from graph  # the branches of an If are looked at when one is taken


def unknown_in(nodes: Iterable[Any]) -> str:
    """Operators of a branch that cannot be rebuilt; empty if all can."""
    return _listed(_named(n for n in nodes if n.domain not in _OWN or n.op_type not in (*OPERATORS, "If")))


def _no_halves(graph: Any, where: str) -> None:
    small = {ir.DataType.FLOAT16, ir.DataType.BFLOAT16}
    found = [value.name for value in (*graph.inputs, *graph.initializers.values()) if value.dtype in small]
    if found:
        raise ParingError(
            f"is in half precision ({', '.join(found[:3])}{', …' if len(found) > 3 else ''})",
            where,
            "give the float32 model",
        )


def _named(nodes: Iterable[Any]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for node in nodes:
        kind = node.op_type if node.domain in _OWN else f"{node.domain}.{node.op_type}"
        found.setdefault(kind, []).append(node.name or node.outputs[0].name)
    return found


def _listed(kinds: Mapping[str, list[str]]) -> str:
    told = []
    for kind, names in sorted(kinds.items()):
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        told.append(f"{kind} at {', '.join(names[:3])}{more}")
    return "; ".join(told)


def _line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
