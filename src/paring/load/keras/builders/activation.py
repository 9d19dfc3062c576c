"""Activations: layers of their own, and the `activation` of other layers."""

from __future__ import annotations

from typing import Any

from paring.load.keras.sheet import Sheet, Unsupported, Value, axis, weight

# Keras's function -> operation and its options
FUNCTIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "celu": ("CELU", {}),
    "elu": ("ELU", {}),
    "exponential": ("exp", {}),
    "gelu": ("GELU", {}),
    "hard_shrink": ("Hardshrink", {}),
    "hard_sigmoid": ("Hardsigmoid", {}),
    "hard_silu": ("Hardswish", {}),
    "hard_tanh": ("Hardtanh", {}),
    "leaky_relu": ("LeakyReLU", {"negative_slope": 0.2}),
    "log_sigmoid": ("LogSigmoid", {}),
    "mish": ("Mish", {}),
    "relu": ("ReLU", {}),
    "relu6": ("ReLU6", {}),
    "selu": ("SELU", {}),
    "sigmoid": ("Sigmoid", {}),
    "silu": ("SiLU", {}),
    "soft_shrink": ("Softshrink", {}),
    "softplus": ("Softplus", {}),
    "softsign": ("Softsign", {}),
    "sparse_plus": ("sparse_plus", {}),
    "sparse_sigmoid": ("sparse_sigmoid", {}),
    "squareplus": ("squareplus", {}),
    "tanh": ("Tanh", {}),
    "tanh_shrink": ("Tanhshrink", {}),
}


def activate(sheet: Sheet, function: Any, x: Value) -> Value:
    """What a layer's `activation` makes of its answer."""
    if function is None:
        return x
    if hasattr(function, "get_config") and not hasattr(function, "__name__"):  # a layer as activation
        from paring.load.keras.builders import table

        build = table().get(type(function).__name__)
        if build is None:
            raise Unsupported(f"the activation {type(function).__name__}")
        with sheet.drawing(function, f"{sheet.name}_{function.name}", [x.shape]):
            found: Value = build(sheet, function, x)
        return found
    name = getattr(function, "__name__", type(function).__name__)
    if name == "linear":
        return x
    if name in ("softmax", "log_softmax"):
        return _softmax(sheet, x, -1, "Softmax" if name == "softmax" else "LogSoftmax", name)
    if name not in FUNCTIONS:
        raise Unsupported(f"the activation {name}")
    return _elementwise(sheet, x, name, *FUNCTIONS[name])


def activation(sheet: Sheet, layer: Any, x: Value) -> Value:
    """The layer Activation."""
    return activate(sheet, layer.activation, x)


def relu(sheet: Sheet, layer: Any, x: Value) -> Value:
    """ReLU with its three options."""
    top, slope, threshold = layer.max_value, float(layer.negative_slope), float(layer.threshold)
    if threshold == 0.0 and top is None:
        return _elementwise(sheet, x, "", *(("LeakyReLU", {"negative_slope": slope}) if slope else ("ReLU", {})))
    if threshold == 0.0 and slope == 0.0:
        ready = ("ReLU6", {}) if top == 6 else ("Hardtanh", {"min_val": 0.0, "max_val": float(top)})
        return _elementwise(sheet, x, "", *ready)
    options = {
        "negative_slope": slope,
        "max_value": None if top is None else float(top),
        "threshold": threshold,
    }
    return _elementwise(sheet, x, "", "rectify", options)


def leaky_relu(sheet: Sheet, layer: Any, x: Value) -> Value:
    """LeakyReLU."""
    return _elementwise(sheet, x, "", "LeakyReLU", {"negative_slope": float(layer.negative_slope)})


def elu(sheet: Sheet, layer: Any, x: Value) -> Value:
    """ELU."""
    return _elementwise(sheet, x, "", "ELU", {"alpha": float(layer.alpha)})


def softmax(sheet: Sheet, layer: Any, x: Value, mask: Any = None) -> Value:
    """Softmax over one axis."""
    if mask is not None:
        raise Unsupported("a mask")
    over = layer.axis
    if isinstance(over, list | tuple):
        if len(over) != 1:
            raise Unsupported("a softmax over several axes")
        over = over[0]
    return _softmax(sheet, x, over, "Softmax", "")


def prelu(sheet: Sheet, layer: Any, x: Value) -> Value:
    """PReLU: one slope for each channel where all other axes are shared, else one for each element."""
    alpha = weight(layer.alpha)
    shape = tuple(alpha.shape)
    if all(size == 1 for size in shape[:-1]):
        reference = sheet.first(x)
        found = sheet.add("PReLU", reference, tensors={"weight": alpha.reshape(-1)}, num_parameters=shape[-1])
        return sheet.value(found, moved=True)
    if x.moved:
        alpha = alpha.movedim(-1, 0)
    slope = sheet.parameter(alpha, "slope")
    return sheet.value(sheet.add("prelu", x.reference, slope), x.moved)


def _elementwise(sheet: Sheet, x: Value, part: str, op: str, options: dict[str, Any]) -> Value:
    return Value(sheet.add(op, x.reference, part=part, **options), x.shape, x.moved)


def _softmax(sheet: Sheet, x: Value, over: int, op: str, part: str) -> Value:
    dim = axis(over, x, x.moved)
    return Value(sheet.add(op, x.reference, part=part, dim=dim), x.shape, x.moved)


BUILDERS = {
    "Activation": activation,
    "ReLU": relu,
    "LeakyReLU": leaky_relu,
    "ELU": elu,
    "PReLU": prelu,
    "Softmax": softmax,
}
