"""What each quantized layer of a `.tflite` gives, read from the interpreter."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from paring.core.model import Model
from paring.core.target import Array
from paring.targets.litert.runner import LiteRTRunner
from paring.targets.scales import rounded


def trace(artifact: Path, model: Model, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Layer -> its output for every sample, dequantized, batch first, images channels first.

    The interpreter runs without its delegate, which keeps no tensors; its own int8 kernels round single codes otherwise
    than the delegate's.

    Args:
        artifact: exported from `model`.
        model: quantized; a layer is found by the scales of its weight.
        inputs: by name, as a runner takes them.
    """
    from ai_edge_litert.interpreter import OpResolverType

    runner = LiteRTRunner(
        artifact,
        experimental_preserve_all_tensors=True,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    tensors = _outputs(runner.interpreter, model)
    found: dict[str, list[Array]] = {layer: [] for layer in tensors}
    for sample in range(len(next(iter(inputs.values())))):
        runner.set({name: values[sample : sample + 1] for name, values in inputs.items()})
        runner.invoke()
        for layer, details in tensors.items():
            found[layer].append(_decoded(runner.interpreter.get_tensor(details["index"]), details))
    return {layer: np.concatenate(values) for layer, values in found.items()}


def _outputs(interpreter: Any, model: Model) -> dict[str, Any]:
    """Layer -> the tensor that it gives."""
    details = {one["index"]: one for one in interpreter.get_tensor_details()}
    wanted = {rounded(one.value): one.layer for one in model.invariants if one.kind == "scale"}
    by_weight = {
        index: wanted[key]
        for index, one in details.items()
        if (key := rounded(one["quantization_parameters"]["scales"].tolist())) in wanted
    }
    found = {}
    for operator in interpreter._get_ops_details():
        for index in operator["inputs"]:
            if index in by_weight:
                found[by_weight[index]] = details[operator["outputs"][0]]
    return found


def _decoded(codes: Array, details: Any) -> Array:
    quantization = details["quantization_parameters"]
    values = codes.astype(np.float32)
    if len(quantization["scales"]):
        values = (values - quantization["zero_points"][0]) * quantization["scales"][0]
    return values.transpose(0, 3, 1, 2) if values.ndim == 4 else values
