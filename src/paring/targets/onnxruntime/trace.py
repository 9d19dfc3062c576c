"""What each quantized layer of an `.onnx` gives, read from ONNX Runtime."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir

from paring.core.model import Model
from paring.core.target import Array
from paring.targets.onnxruntime.graph import DEQUANTIZE, QUANTIZE, constant
from paring.targets.onnxruntime.runner import ONNXRuntimeRunner
from paring.targets.onnxruntime.session import session
from paring.targets.scales import rounded

_FOLLOWS = {"Add", "Relu", "Clip", "Reshape"}  # bias and activation, which ONNX Runtime runs with the layer


def trace(artifact: Path, model: Model, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Layer -> its output for every sample, dequantized, batch first.

    Args:
        artifact: exported from `model`.
        model: quantized; a layer is found by the scales of its weight.
        inputs: by name, as a runner takes them.
    """
    opened = ir.from_proto(onnx.load(artifact))
    wanted = _outputs(opened.graph, model)
    for value, _ in wanted.values():
        if value not in opened.graph.outputs:
            opened.graph.outputs.append(value)
    traced = session(ir.to_proto(opened).SerializeToString(), str(artifact))
    fed = ONNXRuntimeRunner(artifact).encode_all(inputs)
    names = [value.name for value, _ in wanted.values()]
    answers = [
        traced.run(names, {name: values[sample : sample + 1] for name, values in fed.items()})
        for sample in range(len(next(iter(inputs.values()))))
    ]
    found = {}
    for place, (layer, (_, codes)) in enumerate(wanted.items()):
        values = np.concatenate([answer[place] for answer in answers]).astype(np.float32)
        found[layer] = values if codes is None else (values - codes[1]) * np.float32(codes[0])
    return found


def _outputs(graph: Any, model: Model) -> dict[str, tuple[Any, tuple[float, float] | None]]:
    """Layer -> the value that it gives, with scale and zero point where that holds codes."""
    scales = {rounded(one.value): one.layer for one in model.invariants if one.kind == "scale"}
    found = {}
    for node in graph:
        if node.op_type != DEQUANTIZE or constant(node.inputs[0]) is None:
            continue
        stored = constant(node.inputs[1])
        layer = None if stored is None else scales.get(rounded(stored.reshape(-1).tolist()))
        if layer is not None:
            found[layer] = _given(node.outputs[0])
    return found


def _given(weight: Any) -> tuple[Any, tuple[float, float] | None]:
    value = weight.consumers()[0].outputs[0]
    while len(value.consumers()) == 1 and value.consumers()[0].op_type in _FOLLOWS:
        value = value.consumers()[0].outputs[0]
    if len(value.consumers()) == 1 and value.consumers()[0].op_type == QUANTIZE:
        node = value.consumers()[0]
        scale, zero_point = (constant(one) for one in node.inputs[1:3])
        if scale is not None and zero_point is not None:
            return node.outputs[0], (float(scale.reshape(-1)[0]), float(zero_point.reshape(-1)[0]))
    return value, None
