"""Whether OpenVINO can run a model, told before any training."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import onnx
import onnx_ir as ir

from paring.core.errors import ParingError
from paring.core.model import Model
from paring.core.quiet import quiet
from paring.core.target import Problem
from paring.targets.onnxruntime import check
from paring.targets.onnxruntime.export import translated
from paring.targets.openvino.library import FrontEndManager
from paring.targets.traced import first_line, of_other_types

_UNKNOWN, _FAILED = "ONNXFrameworkNode", "NotSupportedONNXNode"
_SCOPES = "pkg.torch.onnx.name_scopes"  # where torch's exporter notes the layers around an operator, outermost first


def problems(model: Model) -> list[Problem]:
    """Every reason why OpenVINO cannot take `model`, all at once: of its way through ONNX, or of OpenVINO's own."""
    if of_other_types(model, check.DTYPES, ""):
        return check.problems(model, "OpenVINO")
    try:
        graph = translated(model, "check")
    except ParingError as error:
        return check.problems(model, "OpenVINO") or [Problem(error.problem, str(model.source), error.remedy)]
    return lacking(graph)


def lacking(graph: Any) -> list[Problem]:
    """A problem for each kind of operator, in each layer, that OpenVINO has no conversion for.

    Args:
        graph: an `onnx_ir.Model`, as torch's exporter wrote it.
    """
    try:
        kinds = _kinds(graph)
    except Exception as error:  # its own kinds, of no common base
        return [Problem(f"OpenVINO cannot read it: {first_line(error)}", "the model", "report the model that shows it")]
    # what stands behind an operator without a conversion fails, too, as its input is of no type
    unlike = kinds.get(_UNKNOWN) or kinds.get(_FAILED) or set()
    found = [(f"{node.op_type}", _layer(node)) for node in graph.graph if node.outputs[0].name in unlike]
    return [
        Problem(f"OpenVINO has no conversion for ONNX's {kind}", layer, "replace the layer by one that OpenVINO has")
        for kind, layer in dict.fromkeys(found)
    ]


def _kinds(graph: Any) -> dict[str, set[str]]:
    """Kind of OpenVINO's operator -> names of the values that operators of that kind give."""
    found: dict[str, set[str]] = {}
    with quiet(), TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
        onnx.save(ir.to_proto(graph), file)
        frontend = FrontEndManager().load_by_framework("onnx")
        for operator in frontend.convert_partially(frontend.load(str(file))).get_ordered_ops():
            found.setdefault(operator.get_type_name(), set()).update(*(end.names for end in operator.outputs()))
    return found


def _layer(node: Any) -> str:
    scopes: list[str] = [name.strip(" '\"") for name in node.metadata_props.get(_SCOPES, "").strip("[]").split(",")]
    layers = [name for name in scopes[:-1] if name]
    return layers[-1] if layers else "the model"
