"""A model becomes an `.onnx`, by torch.onnx and the rewrites beside this file."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import torch

from paring.core import atomic
from paring.core.errors import ParingError
from paring.core.model import Model
from paring.core.quiet import quiet
from paring.core.target import FLOAT_ENDS, ExportOptions
from paring.targets import parity, scales, zeros
from paring.targets.onnxruntime import ONNXRuntime, ends, file, rewrite
from paring.targets.onnxruntime.check import problems, unlike
from paring.targets.onnxruntime.session import session
from paring.targets.traced import samples

# The oldest that the exporter writes without converting, so that runtimes since ONNX Runtime 1.14 (2023) load the file.
OPSET = 18
SCHEMA = 1  # of the metadata in the file
_WHERE = "export to onnxruntime"
LARGEST = 2**31 - 2**20  # bytes of weights: a protocol buffer ends at 2 GiB, and the graph needs some of it


def export(model: Model, path: Path, options: ExportOptions = FLOAT_ENDS) -> Path:
    """Writes `model` to `path`: one file, the batch size free where the model leaves it free. Same model, same bytes.

    Activations of a quantized model are uint8 in the file, with zero points 128 higher than the model's int8 ones: ONNX
    Runtime has kernels for these on every processor, for int8 ones on x86 it computes in float. So `io: int8` makes
    inputs and outputs uint8, too. Weights are int8.

    Raises:
        ParingError: the file would pass 2 GiB, ONNX cannot express the model, `io: int8` for a float model, the
            exporter failed or the checker refuses what it made, what was quantized came out float, zeros were lost, or
            the disk is full. Nothing is written then.
    """
    content = written(model, options, rewrite.everything, _WHERE)
    _checked(content)
    scales.require(model, file.weight_scales(content), _WHERE)
    zeros.require(model, file.stored(content), _WHERE)
    with atomic.write(path) as temporary:
        temporary.write_bytes(content)
        parity.require(ONNXRuntime(), model, temporary, options)
    return path


def written(model: Model, options: ExportOptions, change: Callable[[Any], None], where: str) -> bytes:
    """The content of the `.onnx`, not yet checked: also the way into runtimes that read such files.

    Args:
        model: see `export`.
        options: likewise.
        change: rewrites the graph (an `onnx_ir.Graph`), in place.
        where: for messages.

    Raises:
        ParingError: `io: int8` for a float model, or as `translated` does.
    """
    if options.io == "int8" and not model.quantized:
        raise ParingError(
            "int8 inputs and outputs need a quantized model", where, "add quantize.static, or io: float32"
        )
    graph = translated(model, where)
    change(graph.graph)
    metadata = {
        "schema": SCHEMA,
        "layout": options.layout,
        "inputs": [spec.as_json() for spec in model.inputs],
        "outputs": [spec.as_json() for spec in model.outputs],
        "scales": ends.to_codes(graph.graph) if options.io == "int8" else {},
    }
    if options.layout == "NHWC":
        ends.channels_last(graph.graph, [spec.name for spec in model.inputs if spec.layout == "NCHW"])
    return file.finish(graph, metadata)


def _fits(model: Model, where: str) -> None:
    size = sum(tensor.nbytes for tensor in (*model.module.parameters(), *model.module.buffers()))
    if size // (4 if model.quantized else 1) > LARGEST:
        raise ParingError(
            f"{size / 2**30:.1f} GiB of weights do not fit into one .onnx file, which ends at 2 GiB",
            where,
            "quantize it to int8, or take a smaller model",
        )


def translated(model: Model, where: str) -> Any:
    """The model as an `onnx_ir.Model`, as torch.onnx writes it.

    Raises:
        ParingError: the file would pass 2 GiB, ONNX cannot express the model, or the exporter failed.
    """
    _fits(model, where)
    try:
        with quiet():
            try:
                return _exported(model, where, free=True)
            except ParingError:
                raise
            except Exception:  # many kinds; most often the code of the model fixes the batch size
                return _exported(model, where, free=False)
    except ParingError:
        raise
    except Exception as error:
        found = problems(model)
        if found:
            raise ParingError("; ".join(map(str, found)), where, found[0].remedy) from error
        raise ParingError(
            f"torch.onnx could not translate {_culprit(error)}",
            where,
            "replace the layer that the message names; `paring check` lists operators without a translation",
        ) from error


def _culprit(error: BaseException | None) -> str:
    """The operator that an error of the exporter is about."""
    while error is not None:
        found = re.search(r"translating node .*target=(?:torch\.ops\.)?([\w.]+)", str(error))
        if found:
            return f"{found[1]}, with the options that it has here"
        error = error.__cause__
    return "the model"


def _exported(model: Model, where: str, *, free: bool) -> Any:
    batch = torch.export.Dim("batch", min=1, max=2**16)
    shapes = [
        {axis: batch for axis, size in enumerate(spec.shape) if isinstance(size, str) and size not in spec.free}
        for spec in model.inputs
    ]
    program: Any = torch.onnx.export(
        model.module,
        samples(model.inputs, 2 if free else 1),  # a size of one would be taken for a fixed one
        dynamo=True,
        verbose=False,
        opset_version=OPSET,
        dynamic_shapes=_arranged(model, shapes) if free else None,
        input_names=[spec.name for spec in model.inputs],
        output_names=[spec.name for spec in model.outputs],
    )
    found = unlike(program.exported_program)
    if found:
        raise ParingError("; ".join(map(str, found)), where, found[0].remedy)
    return program.model


def _arranged(model: Model, shapes: list[Any]) -> tuple[Any, ...]:
    """One entry for each argument of `forward`; of `forward(*inputs)` torch wants them as one."""
    from inspect import signature

    kinds = [one.kind for one in signature(model.module.forward).parameters.values()]
    return (tuple(shapes),) if kinds and kinds[0] is kinds[0].VAR_POSITIONAL else tuple(shapes)


def _checked(content: bytes) -> None:
    """The checker, strict shape inference and ONNX Runtime itself accept the file."""
    try:
        onnx.checker.check_model(content, full_check=True)
    except Exception as error:  # its own kinds, of no common base
        reason = str(error).strip().splitlines()[0]
        raise ParingError(
            f"the exported file is not valid: {reason}", _WHERE, "report the model that shows it"
        ) from error
    session(content, _WHERE)
