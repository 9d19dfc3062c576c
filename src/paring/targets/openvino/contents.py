"""What a model in OpenVINO's intermediate representation holds, and what the CPU plugin makes of it."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from paring.core.target import Array, Contents, FileTensor
from paring.targets.onnxruntime.integers import SHIFT
from paring.targets.openvino import plugin
from paring.targets.zeros import share

_STORED, _ENDS = "Constant", {"Constant", "Parameter", "Result"}
# what gives values another shape, order or type and computes nothing
_MOVES = {
    "FakeQuantize", "Convert", "ConvertLike", "Reshape", "Squeeze", "Unsqueeze", "Transpose", "ShapeOf", "Broadcast",
    "Gather",
}  # fmt: skip
_INTEGERS, _FLOATS = {"i8", "u8"}, {"f32", "f16", "bf16", "f64"}


def contents(artifact: Path) -> Contents:
    """Operators and tensors of the files, and on what numbers OpenVINO computes.

    Operators and tensors are those of the files. What runs on integers and what in float is read from the graph as the
    CPU plugin of this machine compiles it, under the names that it uses there (`Convolution`, `FullyConnected`); what
    it fuses counts once. Zero points are those of signed codes, as in `paring.targets.onnxruntime.file.contents`.

    Raises:
        ParingError: it is no such folder, or OpenVINO refuses it.
    """
    model = plugin.read(artifact)
    operators = model.get_ordered_ops()
    kinds = Counter(one.get_type_name() for one in operators if one.get_type_name() not in _ENDS)
    computing = {
        one.get_friendly_name()
        for one in operators
        if one.get_type_name() not in _ENDS | _MOVES and not _dequantizes(one)
    }
    held = tuple(tensors(model))
    quantized: Counter[str] = Counter()
    in_float = []
    for node in plugin.compiled(model, str(artifact)).get_runtime_model().get_ordered_ops():
        names = [name for name in _told(node, "originalLayersNames") if name in computing]
        given = _given(node)
        if names and given in _INTEGERS:
            quantized[_told(node, "layerType")[0]] += 1
        elif names and given in _FLOATS:
            in_float.append((_told(node, "layerType")[0], names[0].removesuffix("/WithoutBiases")))
    return Contents(dict(kinds), held, dict(quantized), tuple(in_float))


def _told(node: Any, what: str) -> list[str]:
    """What the plugin notes of an operator as it compiled it: one entry for each of its parts, or of its outputs."""
    entries: list[str] = node.get_rt_info()[what].astype(str).split(",")
    return entries


def _given(node: Any) -> str:
    """The type of the first computed value that an operator is fed; `runtimePrecision` may be that of its weights."""
    fed = [end for end in node.input_values() if _told(end.get_node(), "layerType") != ["Const"]]
    if not fed:
        return ""
    types = _told(fed[0].get_node(), "outputPrecisions")
    place: int = fed[0].get_index()
    return types[min(place, len(types) - 1)]  # told once where all outputs have it


def tensors(model: Any) -> Iterator[FileTensor]:
    """Stored tensors, inputs, what operators compute; scales where a tensor is one of codes."""
    for operator in model.get_ordered_ops():
        kind = operator.get_type_name()
        if kind == "Result":
            continue
        for end in operator.outputs():
            name = operator.get_friendly_name()
            shape = tuple(1 if size.is_dynamic else size.get_length() for size in end.partial_shape)
            dtype = np.dtype(end.element_type.to_dtype()).name
            if kind == _STORED:
                values = operator.data
                scales, points, axis = _scales(end)
                signed = tuple(point - SHIFT for point in points) if dtype == "uint8" else points
                yield FileTensor(name, dtype, shape, values.nbytes, scales, signed, share(values, points, axis))
            elif kind == "FakeQuantize" and operator.get_attributes()["levels"] == 256:
                yield FileTensor(name, "uint8", shape, 0, *_codes(operator))
            else:
                yield FileTensor(name, dtype, shape, 0)


def _constant(end: Any) -> Array | None:
    """Values of the constant that gives an input, converted or not; None if it is computed."""
    node = end.get_node()
    if node.get_type_name() == "Convert":
        node = node.input_value(0).get_node()
    values: Array | None = node.data if node.get_type_name() == _STORED else None
    return values


def _scales(end: Any) -> tuple[tuple[float, ...], tuple[int, ...], int]:
    """Scales of a constant of codes, their zero points and axis: converted to floats, less the point, multiplied."""
    for convert in _users(end, "Convert"):
        found = [
            (convert, None),
            *((one, _constant(one.input_value(1))) for one in _users(convert.output(0), "Subtract")),
        ]
        for values, point in found:
            for multiply in _users(values.output(0), "Multiply"):
                factor = _constant(multiply.input_value(1))
                if factor is not None:
                    axes = [axis for axis, size in enumerate(factor.shape) if size > 1]
                    points = np.broadcast_to(0 if point is None else point, factor.shape)
                    scales, shifts = tuple(map(float, factor.reshape(-1))), tuple(map(int, points.reshape(-1)))
                    return scales, shifts, axes[0] if axes else 0
    return (), (), 0


def _codes(operator: Any) -> tuple[tuple[float, ...], tuple[int, ...]]:
    """Scale and signed zero point of the 256 values that a `FakeQuantize` lets through."""
    low, high = (_constant(operator.input_value(place)) for place in (1, 2))
    if low is None or high is None or low.size != 1:
        return (), ()
    scale = (high.item() - low.item()) / 255
    return (scale,), (round(-low.item() / scale) - SHIFT,)


def _users(end: Any, kind: str) -> Iterator[Any]:
    return (user.get_node() for user in end.get_target_inputs() if user.get_node().get_type_name() == kind)


def _dequantizes(operator: Any) -> bool:
    """Whether an operator is the subtraction or the product that makes values of codes."""
    if operator.get_type_name() not in {"Subtract", "Multiply"}:
        return False
    source = operator.input_value(0).get_node()
    if operator.get_type_name() == "Multiply" and source.get_type_name() == "Subtract":
        return _dequantizes(source)
    return source.get_type_name() == "Convert" and source.input(0).get_element_type().to_dtype() in (np.int8, np.uint8)
