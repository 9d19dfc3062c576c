"""A model becomes a `.pte`, by ExecuTorch, with all that XNNPACK has kernels for in XNNPACK's hands."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from paring.core import atomic
from paring.core.errors import ParingError
from paring.core.model import Model
from paring.core.quiet import quiet
from paring.core.target import FLOAT_ENDS, ExportOptions
from paring.targets import parity, scales, zeros
from paring.targets.executorch import ExecuTorch, program
from paring.targets.executorch.check import kernel, lower, problems, without_kernel
from paring.targets.traced import first_line, layer_of

with quiet():
    from executorch.exir import ExecutorchBackendConfig
    from executorch.exir.dialects.edge._ops import EdgeOpOverload
    from executorch.exir.tensor import scalar_type_enum

SCHEMA = 1  # of the metadata in the file
_ALIGNMENT = 16  # bytes; what XNNPACK asks for. ExecuTorch's default of 128 pads every bias and every row of scales


def export(model: Model, path: Path, options: ExportOptions = FLOAT_ENDS) -> Path:
    """Writes `model` to `path`, batch size one. Same model, same bytes.

    Raises:
        ParingError: ExecuTorch cannot run the model, `io: int8` for a float model, the lowering failed, what was
            quantized came out float, zeros were lost, or the disk is full. Nothing is written then.
    """
    if options.io == "int8" and not model.quantized:
        raise ParingError(
            "int8 inputs and outputs need a quantized model",
            "export to executorch",
            "add quantize.static, or io: float32",
        )
    content = _convert(model, options)
    stored = [one for one in program.contents(content).tensors if one.bytes]
    scales.require(model, (one.scales for one in stored), "export to executorch")
    zeros.require(model, stored, "export to executorch")
    with atomic.write(path) as temporary:
        temporary.write_bytes(content)
        parity.require(ExecuTorch(), model, temporary, options)
    return path


def _convert(model: Model, options: ExportOptions) -> bytes:
    try:
        lowered, ends = lower(model, options)
        found = without_kernel(lowered)
        if not found:
            metadata = {
                "schema": SCHEMA,
                "sha256": program.NO_DIGEST,
                "layout": options.layout,
                "inputs": [spec.as_json() for spec in model.inputs],
                "outputs": [spec.as_json() for spec in model.outputs],
                "ends": {name: asdict(end) for name, end in ends.items()},
                "in_float": list(_left_in_float(lowered)) if model.quantized else [],
            }
            lowered._config_methods = {program.METADATA: json.dumps(metadata, sort_keys=True)}
            with quiet():
                written = lowered.to_executorch(ExecutorchBackendConfig(segment_alignment=_ALIGNMENT))
                return program.signed(bytes(written.buffer))
    except Exception as error:  # the lowering raises many kinds
        found = problems(model)
        if not found:
            raise ParingError(
                f"ExecuTorch could not lower the model: {first_line(error)}",
                "export to executorch",
                "replace the layer that the message names; `paring check` lists operators without a kernel",
            ) from error
    raise ParingError("; ".join(str(problem) for problem in found), "export to executorch", found[0].remedy)


def _left_in_float(lowered: Any) -> Iterator[str]:
    """The layer of each operator that computes on floats, in the order in which they run."""
    edge = lowered.exported_program()
    for node in edge.graph.nodes:
        if node.op != "call_function":
            continue
        if isinstance(node.target, EdgeOpOverload):
            values = [one.meta.get("val") for one in (*node.all_input_nodes, node)]
            types = [scalar_type_enum(one.dtype).name for one in values if isinstance(one, torch.Tensor)]
            if program.kernel_kind(kernel(node), types) == "float":
                yield layer_of(node.meta)
        elif node.target is torch.ops.higher_order.executorch_call_delegate:
            yield from _left_in_float_by_xnnpack(getattr(edge.graph_module, node.args[0].target))


def _left_in_float_by_xnnpack(delegate: Any) -> Iterator[str]:
    nodes = delegate.original_module.graph.nodes
    layers = {node.meta.get("debug_handle"): layer_of(node.meta) for node in nodes if node.op == "call_function"}
    store = delegate.named_data_store_output
    data = {key: store.buffers[one.buffer_index] for key, one in store.pte_data.items()} if store else {}
    for call in program.xnnpack(delegate.processed_bytes, data, "").calls:
        if call.kind == "float":
            yield layers.get(call.handle, "the model")
