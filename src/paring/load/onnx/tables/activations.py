"""Activations, which become layers, and what is a number in them."""

import math

import torch

from paring.load.onnx.build import Builder, Operator
from paring.load.onnx.draft import Cannot, Value


def _plain(name: str) -> Builder:
    return lambda operator: operator.emit(name, operator[0])


def clip(operator: Operator) -> Value:
    """ReLU6, ReLU, Hardtanh, or a clamp."""
    x = operator[0]
    bounds: list[float | None] = []
    for index, name in ((1, "min"), (2, "max")):
        value = operator.get(index)
        if value is not None and value.constant is None:
            return _clip_by_values(operator)
        number = operator.attribute(name) if value is None else operator.needed(index, name).item()
        bounds.append(None if number is None or math.isinf(number) else number)
    low, high = bounds
    if low is None and high is None:
        return x
    floats = x.dtype.is_floating_point
    huge = torch.finfo(torch.float32).max
    if floats and low == 0 and high == 6:
        return operator.emit("ReLU6", x)
    if floats and low == 0 and (high is None or high >= huge):
        return operator.emit("ReLU", x)
    if floats and low is not None and high is not None and low < high:
        return operator.emit("Hardtanh", x, min_val=low, max_val=high)
    return operator.emit("clamp", x, min=low, max=high)


def _clip_by_values(operator: Operator) -> Value:
    x, low, high = operator[0], operator.get(1), operator.get(2)
    x = x if low is None else operator.emit("maximum", x, low)
    return x if high is None else operator.emit("minimum", x, high)


def hard_sigmoid(operator: Operator) -> Value:
    """Hardsigmoid where the slope is torch's own."""
    alpha, beta = operator.attribute("alpha", 0.2), operator.attribute("beta", 0.5)
    if abs(alpha - 1 / 6) < 1e-6 and beta == 0.5:
        return operator.emit("Hardsigmoid", operator[0])
    made = operator.emit("add", operator.emit("multiply", operator[0], other=alpha), other=beta)
    return operator.emit("Hardtanh", made, min_val=0.0, max_val=1.0)


def prelu(operator: Operator) -> Value:
    """PReLU where the slope belongs to the channels."""
    x, slope = operator[0], operator.needed(1, "slope")
    channels = x.shape[1] if x.rank > 1 else 1
    shape = [1] * max(slope.ndim - x.rank, 0) + [*slope.shape]
    shape = [1] * (x.rank - len(shape)) + shape
    if slope.numel() == 1 or (slope.numel() == channels == shape[1] and x.rank > 1):
        return operator.layer("PReLU", x, tensors={"weight": slope.flatten()}, num_parameters=slope.numel())
    positive = operator.emit("clamp", x, min=0.0)
    below = operator.emit("multiply", operator.emit("clamp", x, max=0.0), operator[1])
    return operator.emit("add", positive, below)


def softmax(operator: Operator) -> Value:
    """Softmax and LogSoftmax; before opset 13 over all dimensions from the axis on."""
    x, op = operator[0], operator.kind
    if operator.opset >= 13:
        return operator.emit(op, x, dim=operator.beside_batch(operator.attribute("axis", -1)))
    axis = operator.beside_batch(operator.attribute("axis", 1))
    if all(size == 1 for size in x.shape[axis + 1 :]):
        return operator.emit(op, x, dim=axis)
    shapes = x.shapes
    flat = operator.reshape(x, [(*shape[:axis], math.prod(shape[axis:])) for shape in shapes])
    return operator.reshape(operator.emit(op, flat, dim=axis), shapes)


def elu(operator: Operator) -> Value:
    """ELU."""
    return operator.emit("ELU", operator[0], alpha=operator.attribute("alpha", 1.0))


def celu(operator: Operator) -> Value:
    """CELU."""
    return operator.emit("CELU", operator[0], alpha=operator.attribute("alpha", 1.0))


def selu(operator: Operator) -> Value:
    """SELU with its own two numbers, else ELU times a factor."""
    alpha, gamma = operator.attribute("alpha", 1.6732632), operator.attribute("gamma", 1.0507010)
    if abs(alpha - 1.6732632) < 1e-5 and abs(gamma - 1.0507010) < 1e-5:
        return operator.emit("SELU", operator[0])
    return operator.emit("multiply", operator.emit("ELU", operator[0], alpha=alpha), other=gamma)


def leaky(operator: Operator) -> Value:
    """LeakyReLU."""
    return operator.emit("LeakyReLU", operator[0], negative_slope=operator.attribute("alpha", 0.01))


def gelu(operator: Operator) -> Value:
    """GELU."""
    return operator.emit("GELU", operator[0], approximate=operator.attribute("approximate", "none"))


def thresholded(operator: Operator) -> Value:
    """Threshold."""
    return operator.emit("Threshold", operator[0], threshold=operator.attribute("alpha", 1.0), value=0.0)


def swish(operator: Operator) -> Value:
    """SiLU."""
    if operator.attribute("alpha", 1.0) == 1:
        return operator.emit("SiLU", operator[0])
    gate = operator.emit("Sigmoid", operator.emit("multiply", operator[0], other=operator.attribute("alpha")))
    return operator.emit("multiply", operator[0], gate)


def dropout(operator: Operator) -> Value:
    """Dropout, which does nothing in eval mode."""
    training = operator.constant(2, "training mode")
    if training is not None and bool(training):
        raise Cannot("it drops values at inference", "export the model in eval mode")
    if any(operator.outputs[1:]):
        raise Cannot("its mask is used", "export the model in eval mode")
    ratio = operator.constant(1, "ratio")
    p = operator.attribute("ratio", 0.5) if ratio is None else float(ratio)
    return operator[0] if operator[0].known else operator.emit("Dropout", operator[0], p=p)


OPERATORS: dict[str, Builder] = {
    "Relu": _plain("ReLU"), "Sigmoid": _plain("Sigmoid"), "Tanh": _plain("Tanh"), "HardSwish": _plain("Hardswish"),
    "Softplus": _plain("Softplus"), "Softsign": _plain("Softsign"), "Mish": _plain("Mish"),
    "Clip": clip, "HardSigmoid": hard_sigmoid, "PRelu": prelu, "Softmax": softmax, "LogSoftmax": softmax,
    "Elu": elu, "Celu": celu, "Selu": selu, "LeakyRelu": leaky, "Gelu": gelu, "ThresholdedRelu": thresholded,
    "Swish": swish, "Dropout": dropout,
}  # fmt: skip
