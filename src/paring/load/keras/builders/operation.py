"""Operations of `keras.ops` that stand in a functional graph beside layers."""

# ruff: noqa: ARG001 (every builder takes the same arguments)

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from paring.load.keras.builders.activation import FUNCTIONS
from paring.load.keras.builders.merge import concatenate
from paring.load.keras.builders.shape import reshaped
from paring.load.keras.sheet import Sheet, Unsupported, Value, axis


def arithmetic(op: str) -> Any:
    """A builder for a function of two values, either of which may be a number or an array."""

    def build(sheet: Sheet, layer: Any, x1: Any, x2: Any) -> Value:
        if isinstance(x1, Value) and isinstance(x2, Value):
            (one, other), moved = sheet.together([x1, x2])
            return sheet.value(sheet.add(op, one, other), moved)
        x, constant = (x1, x2) if isinstance(x1, Value) else (x2, x1)
        swap = not isinstance(x1, Value)
        if isinstance(constant, bool | int | float):
            options: dict[str, Any] = {"swap": True} if swap else {}
            found = sheet.add("constant_arithmetic", x.reference, function=op, value=float(constant), **options)
            return sheet.value(found, x.moved)
        tensor = torch.as_tensor(constant, dtype=torch.float32).cpu()
        if tensor.ndim > len(x.shape) + 1:
            raise Unsupported("a constant of a higher rank")
        reference = sheet.plain(x)
        held = sheet.constant(tensor, "constant")
        return sheet.value(sheet.add(op, *((held, reference) if swap else (reference, held))))

    return build


def elementwise(op: str, **options: Any) -> Any:
    """A builder for a function of one value."""

    def build(sheet: Sheet, layer: Any, x: Value) -> Value:
        given = {name: getattr(layer, attribute) for name, attribute in options.items()}
        return sheet.value(sheet.add(op, x.reference, **given), x.moved)

    return build


def gelu(sheet: Sheet, layer: Any, x: Value) -> Value:
    """Gelu, by default its approximation."""
    options: dict[str, Any] = {"approximate": "tanh"} if layer.approximate else {}
    return sheet.value(sheet.add("GELU", x.reference, **options), x.moved)


def reduction(op: str) -> Any:
    """A builder for a reduction over some axes."""

    def build(sheet: Sheet, layer: Any, x: Value) -> Value:
        rank = len(x.shape) + 1
        axes = _axes(layer.axis, rank)
        if 0 in axes:
            raise Unsupported("a reduction over the batch")
        spatial = set(axes) == set(range(1, rank - 1))
        stays = x.moved and (layer.keepdims or spatial)
        reference = x.reference if stays else sheet.plain(x)
        dims = [axis(one, x, stays) for one in axes]
        found = sheet.add(op, reference, dim=dims, keepdim=bool(layer.keepdims))
        return sheet.value(found, stays and bool(layer.keepdims))

    return build


def softmax(sheet: Sheet, layer: Any, x: Value) -> Value:
    """Softmax and LogSoftmax over one axis."""
    op = "LogSoftmax" if type(layer).__name__ == "LogSoftmax" else "Softmax"
    return sheet.value(sheet.add(op, x.reference, dim=axis(layer.axis, x, x.moved)), x.moved)


def reshape(sheet: Sheet, layer: Any, x: Value) -> Value:
    """Reshape, ExpandDims, Squeeze: the same numbers in another shape."""
    return reshaped(sheet, x)


def transpose(sheet: Sheet, layer: Any, x: Value) -> Value:
    """Transpose."""
    rank = len(x.shape) + 1
    order = [one % rank for one in layer.axes] if layer.axes is not None else list(reversed(range(rank)))
    if order[0] != 0:
        raise Unsupported("moving the batch")
    return sheet.value(sheet.add("permute", sheet.plain(x), dims=order))


def concatenated(sheet: Sheet, layer: Any, xs: Sequence[Any]) -> Value:
    """Concatenate."""
    if not all(isinstance(x, Value) for x in xs):
        raise Unsupported("a constant")
    return concatenate(sheet, layer, list(xs))


def stacked(sheet: Sheet, layer: Any, x: Sequence[Value]) -> Value:
    """Stack."""
    dim = layer.axis % (len(x[0].shape) + 2)
    return sheet.value(sheet.add("stack", *(sheet.plain(one) for one in x), dim=dim))


def split(sheet: Sheet, layer: Any, x: Value) -> list[Value]:
    """Split."""
    dim = axis(layer.axis, x, x.moved)
    number = layer.axis % (len(x.shape) + 1)
    found = sheet.add("split", x.reference, sizes=[shape[number - 1] for shape in sheet.shapes], dim=dim)
    return [Value(f"{found}:{i}", shape, x.moved) for i, shape in enumerate(sheet.shapes)]


def matmul(sheet: Sheet, layer: Any, x1: Any, x2: Any) -> Value:
    """Matmul of two values."""
    if not (isinstance(x1, Value) and isinstance(x2, Value)):
        raise Unsupported("a constant")
    return sheet.value(sheet.add("matmul", sheet.plain(x1), sheet.plain(x2)))


def clip(sheet: Sheet, layer: Any, x: Value) -> Value:
    """Clip."""
    return sheet.value(sheet.add("clamp", x.reference, min=float(layer.x_min), max=float(layer.x_max)), x.moved)


def cast(sheet: Sheet, layer: Any, x: Value) -> Value:
    """Cast."""
    return sheet.value(sheet.add("cast", x.reference, dtype=str(layer.dtype)), x.moved)


def get_item(sheet: Sheet, layer: Any, x: Value, key: Any) -> Value:
    """Slices and single positions; the batch stays whole."""
    keys = list(key) if isinstance(key, tuple | list) else [key]
    rank = len(x.shape) + 1
    if Ellipsis in keys:
        at = keys.index(Ellipsis)
        keys[at : at + 1] = [slice(None)] * (rank - len(keys) + 1)
    if not all(isinstance(one, int | slice) for one in keys) or keys[0] != slice(None):
        raise Unsupported("an index that is neither a slice nor a number, or one into the batch")
    bounds = [
        [dim, one.start, one.stop, one.step]
        for dim, one in enumerate(keys)
        if isinstance(one, slice) and one != slice(None)
    ]
    if any(step is not None and step < 1 for *_, step in bounds):
        raise Unsupported("a step below one")
    reference = sheet.plain(x)
    if bounds:
        reference = sheet.add("slice", reference, bounds=bounds)
    for dim, one in reversed(list(enumerate(keys))):
        if isinstance(one, int):
            reference = sheet.add("select", reference, part="at", dim=dim, index=one)
    return sheet.value(reference)


def tf_operation(sheet: Sheet, layer: Any, x: Value, y: Any = None, name: Any = None) -> Value:
    """A `TFOpLambda` of an old file."""
    build = BUILDERS[layer.function.capitalize()]
    found: Value = build(sheet, layer, x) if y is None else build(sheet, layer, x, y)
    return found


def _axes(given: Any, rank: int) -> list[int]:
    if given is None:
        return list(range(rank))
    return sorted(one % rank for one in ([given] if isinstance(given, int) else given))


_CAMEL = {
    name: "".join(part.capitalize() for part in name.split("_"))
    for name in FUNCTIONS
    if name not in ("gelu", "exponential", "leaky_relu", "elu", "celu")
}

BUILDERS = {
    "Add": arithmetic("add"),
    "Subtract": arithmetic("subtract"),
    "Multiply": arithmetic("multiply"),
    "Divide": arithmetic("divide"),
    "TrueDivide": arithmetic("divide"),
    "Power": arithmetic("power"),
    "Maximum": arithmetic("maximum"),
    "Minimum": arithmetic("minimum"),
    **{camel: elementwise(FUNCTIONS[name][0], **FUNCTIONS[name][1]) for name, camel in _CAMEL.items()},
    "LeakyRelu": elementwise("LeakyReLU", negative_slope="negative_slope"),
    "Elu": elementwise("ELU", alpha="alpha"),
    "Gelu": gelu,
    "Absolute": elementwise("absolute"),
    "Negative": elementwise("negative"),
    "Exp": elementwise("exp"),
    "Log": elementwise("log"),
    "Sqrt": elementwise("sqrt"),
    "Rsqrt": elementwise("rsqrt"),
    "Square": elementwise("square"),
    "Mean": reduction("mean"),
    "Sum": reduction("sum"),
    "Max": reduction("amax"),
    "Min": reduction("amin"),
    "Softmax": softmax,
    "LogSoftmax": softmax,
    "Reshape": reshape,
    "ExpandDims": reshape,
    "Squeeze": reshape,
    "Transpose": transpose,
    "Concatenate": concatenated,
    "Stack": stacked,
    "Split": split,
    "Matmul": matmul,
    "Clip": clip,
    "Cast": cast,
    "GetItem": get_item,
}
