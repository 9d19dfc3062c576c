"""A model becomes OpenVINO's intermediate representation, by way of the graph that ONNX Runtime takes."""

import json
import re
from collections.abc import Collection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from paring.core import atomic
from paring.core.errors import ParingError
from paring.core.model import Json, Model
from paring.core.quiet import quiet
from paring.core.target import FLOAT_ENDS, ExportOptions
from paring.targets import parity, scales, zeros
from paring.targets.onnxruntime import integers, rewrite
from paring.targets.onnxruntime.export import written
from paring.targets.openvino import OpenVINO, codes, plugin
from paring.targets.openvino.check import problems
from paring.targets.openvino.contents import tensors
from paring.targets.openvino.library import PartialShape, apply_moc_transformations, openvino, opset
from paring.targets.traced import first_line

_WHERE = "export to openvino"
_COUNTED = re.compile(r"[A-Z]\w*_\d+")  # names that OpenVINO gives, by a count over the life of the process


def export(model: Model, path: Path, options: ExportOptions = FLOAT_ENDS) -> Path:
    """Writes `model` to the folder `path`, the batch size free where the model leaves it free. Same model, same bytes.

    Activations of a quantized model are uint8, as in ONNX Runtime's file: see `paring.targets.onnxruntime.export`. So
    `io: int8` makes inputs and outputs uint8, too. Weights are int8.

    Raises:
        ParingError: ONNX or OpenVINO cannot express the model, `io: int8` for a float model, what was quantized came
            out float, zeros were lost, or the disk is full. Nothing is written then.
    """
    graph = _converted(model, written(model, options.model_copy(update={"layout": "NCHW"}), _rewrite, _WHERE))
    if options.layout == "NHWC":
        _channels_last(graph, [spec.name for spec in model.inputs if spec.layout == "NCHW"], options.io == "int8")
    codes.store(graph, model, _WHERE)
    _finish(graph, options)
    stored = [one for one in tensors(graph) if one.bytes]
    scales.require(model, (one.scales for one in stored if one.dtype in ("int8", "uint8")), _WHERE)
    zeros.require(model, stored, _WHERE)
    with atomic.directory(path) as folder:
        openvino.save_model(graph, folder / plugin.GRAPH, compress_to_fp16=False)
        parity.require(OpenVINO(), model, folder, options)
    return path


def _rewrite(graph: Any) -> None:
    """As for ONNX Runtime, without what its kernels alone want: poolings, int32 biases, marks on layers in float."""
    integers.store_weights(graph)
    rewrite.drop_clips(graph)
    rewrite.fuse_pads(graph)
    rewrite.pad_codes(graph)
    integers.shift(graph)


def _converted(model: Model, content: bytes) -> Any:
    """An `openvino.Model` of an `.onnx`, with its constants folded."""
    try:
        with quiet(), TemporaryDirectory() as folder:
            file = Path(folder) / "model.onnx"
            file.write_bytes(content)
            graph = plugin.core().read_model(file)
        # what `openvino.convert_model` does, too, which would tell its makers about it over the network
        apply_moc_transformations(graph, cf=True, smart_reshape=False)
        return graph
    except Exception as error:  # its own kinds, of no common base
        found = problems(model)
        if found:
            raise ParingError("; ".join(map(str, found)), _WHERE, found[0].remedy) from error
        raise ParingError(
            f"OpenVINO could not convert the model: {first_line(error)}",
            _WHERE,
            "replace the layer that the message names",
        ) from error


def _channels_last(graph: Any, images: Collection[str], integers: bool) -> None:
    """Makes inputs of these names NHWC.

    The transpose stands before the quantizing of floats and behind the dequantizing of codes, if inputs are `integers`:
    OpenVINO moves one that stands between, and then finds no codes any more.
    """
    for place, end in enumerate(graph.inputs):
        if end.any_name not in images:
            continue
        old, (batch, *sizes) = end.node, end.partial_shape
        new = opset.parameter(PartialShape([batch, *sizes[1:], sizes[0]]), end.element_type, old.get_friendly_name())
        new.output(0).set_names(end.names)
        for user in end.get_target_inputs():
            user.replace_source_output(new.output(0))
        last = _dequantized(new.output(0)) if integers else new.output(0)
        users = last.get_target_inputs()
        turned = opset.transpose(last, np.array([0, 3, 1, 2]))
        for user in users:
            user.replace_source_output(turned.output(0))
        graph.replace_parameter(place, new)
    graph.validate_nodes_and_infer_types()


def _dequantized(codes: Any) -> Any:
    """The values of an input of codes: converted, less the zero point, times the scale."""
    users = [user.get_node() for user in codes.get_target_inputs()]
    if len(users) != 1 or users[0].get_type_name() not in {"Convert", "Subtract", "Multiply"}:
        return codes
    values = users[0].output(0)
    return values if users[0].get_type_name() == "Multiply" else _dequantized(values)


def _finish(graph: Any, options: ExportOptions) -> None:
    """Keeps our metadata of what the converter noted, and names operators alike in every process."""
    metadata: Json = json.loads(graph.get_rt_info(["framework", plugin.METADATA]).astype(str))
    metadata["layout"] = options.layout
    information = graph.get_rt_info()
    for key in list(information):
        del information[key]
    graph.set_rt_info(json.dumps(metadata, sort_keys=True), [plugin.METADATA])
    for number, operator in enumerate(graph.get_ordered_ops()):
        if _COUNTED.fullmatch(operator.get_friendly_name()):
            operator.set_friendly_name(f"{operator.get_type_name()}_{number}")
