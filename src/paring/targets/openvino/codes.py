"""Weights in few bits, put into OpenVINO's graph in the place of the float constants that the converter wrote.

A constant is known by its content: the layer's weight, its axes in PyTorch's order or, of a matrix, turned. The graph
then stores codes, converts them to floats and multiplies these by the scales; the plugin does so when it compiles the
model, or as it computes, as its kernels can.
"""

import hashlib
from typing import Any

import numpy as np

from paring.core.codes import Codes
from paring.core.errors import ParingError
from paring.core.model import Model
from paring.core.target import Array
from paring.targets.openvino.library import opset


def store(graph: Any, model: Model, where: str) -> None:
    """Replaces the weights whose codes `model` promises, in place.

    Args:
        graph: an `openvino.Model` of `model`.
        model: its invariants of the kind `codes` tell the layers.
        where: for messages.

    Raises:
        ParingError: the graph does not hold such a weight.
    """
    constants: dict[bytes, list[Any]] = {}
    promised = [(one.layer, Codes.from_json(one.value)) for one in model.invariants if one.kind == "codes"]
    for node in graph.get_ordered_ops() if promised else ():
        if node.get_type_name() == "Constant" and node.get_element_type().to_dtype() == np.float32:
            constants.setdefault(_digest(node.data), []).append(node)
    lost = []
    for layer, codes in promised:
        weight = model.module.get_submodule(layer).get_parameter("weight").detach().numpy()
        stored = codes.of(weight)
        for axes in (tuple(range(weight.ndim)), (1, 0))[: 1 + (weight.ndim == 2)]:
            found = constants.get(_digest(weight.transpose(axes)), [])
            if found and stored is not None:
                _replace(found, layer, stored.transpose(axes), codes, axes.index(codes.axis))
                break
        else:
            lost.append(layer)
    if lost:
        raise ParingError(
            f"{len(lost)} layers came out in float ({', '.join(lost[:3])}, …)",
            where,
            "keep these layers in float (keep_float), and report the model that shows it",
        )


def _replace(constants: list[Any], layer: str, stored: Array, codes: Codes, axis: int) -> None:
    """Layers that share a weight share its codes; a constant that has codes already has no users any more."""
    held = opset.constant(np.ascontiguousarray(stored))
    held.set_friendly_name(f"{layer}.weight")
    values = opset.convert(held, "f32")
    if codes.scales:
        around = [-1 if place == axis else 1 for place in range(stored.ndim)]
        values = opset.multiply(values, opset.constant(np.array(codes.scales, np.float32).reshape(around)))
    for constant in constants:
        shape = tuple(constant.shape)
        given = values if shape == stored.shape else opset.reshape(values, np.array(shape), special_zero=False)
        for user in constant.output(0).get_target_inputs():
            user.replace_source_output(given.output(0))


def _digest(array: Array) -> bytes:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).digest()
