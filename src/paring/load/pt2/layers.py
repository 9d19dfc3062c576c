"""Which calls of operators in an exported program are layers: those that hold weights, and activations."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from paring.core.model import Json


@dataclass(frozen=True)
class Call:
    """One call of an operator.

    Attributes:
        operator: `conv2d.default`.
        given: argument -> its value, as the program's JSON has it.
        weights: argument -> name of the tensor that the program holds for it.
        sizes: argument -> sizes of the tensor that it is; -1 where free.
    """

    operator: str
    given: Mapping[str, Mapping[str, Any]]
    weights: Mapping[str, str]
    sizes: Mapping[str, tuple[int, ...]]

    def value(self, name: str, default: Json = None) -> Json:
        """A plain argument; `default` where it is left out."""
        ((kind, value),) = self.given.get(name, {"as_none": True}).items()
        if kind == "as_none":
            return default
        return [one["as_int"] for one in value] if kind == "as_sym_ints" else value


@dataclass(frozen=True)
class Layer:
    """A layer in the place of a call: operation of the blueprint, options, input, and its tensors by their roles."""

    op: str
    options: Mapping[str, Json] = field(default_factory=dict)
    input: str = "input"
    tensors: Mapping[str, str] = field(default_factory=dict)


def layer(call: Call) -> Layer | None:
    """The layer that does what the call does, or None."""
    maker = _MAKERS.get(call.operator)
    return None if maker is None else maker(call)


def _convolution(rank: int, transposed: bool = False) -> Callable[[Call], Layer | None]:
    def make(call: Call) -> Layer | None:
        if not _holds(call, "weight") or "input" in call.weights:
            return None
        weight, groups = call.sizes["weight"], call.value("groups", 1)
        channels = (weight[0], weight[1] * groups) if transposed else (weight[1] * groups, weight[0])
        padding = call.value("padding", 0)
        options: dict[str, Json] = {
            "in_channels": channels[0],
            "out_channels": channels[1],
            "kernel_size": list(weight[2:]),
            "stride": call.value("stride", 1),
            "padding": padding,
            "dilation": call.value("dilation", 1),
            "groups": groups,
            "bias": "bias" in call.weights,
        }
        if transposed:
            options["output_padding"] = call.value("output_padding", 0)
        name = f"Conv{'Transpose' if transposed else ''}{rank}d"
        return Layer(name, _tupled(options, rank), tensors=_roles(call, "weight", "bias"))

    return make


def _linear(call: Call) -> Layer | None:
    if not _holds(call, "weight") or len(call.sizes["weight"]) != 2:
        return None
    out, into = call.sizes["weight"]
    options = {"in_features": into, "out_features": out, "bias": "bias" in call.weights}
    return Layer("Linear", options, tensors=_roles(call, "weight", "bias"))


def _batch_norm(call: Call) -> Layer | None:
    rank = {2: 1, 3: 1, 4: 2, 5: 3}.get(len(call.sizes["input"]))
    affine = _holds(call, "weight") and _holds(call, "bias")
    plain = call.given.get("weight", {}).get("as_none") and call.given.get("bias", {}).get("as_none")
    running = "running_mean" in call.weights and "running_var" in call.weights
    if call.value("training") or rank is None or not running or not (affine or plain):
        return None
    options = {
        "num_features": call.sizes["running_mean"][0],
        "eps": call.value("eps", 1e-5),
        "momentum": call.value("momentum", 0.1),
        "affine": bool(affine),
    }
    return Layer(f"BatchNorm{rank}d", options, tensors=_roles(call, "weight", "bias", "running_mean", "running_var"))


def _embedding(call: Call) -> Layer | None:
    if not _holds(call, "weight") or call.value("scale_grad_by_freq") or call.value("sparse"):
        return None
    count, width = call.sizes["weight"]
    padding = call.value("padding_idx", -1)
    options = {"num_embeddings": count, "embedding_dim": width}
    if padding >= 0:
        options["padding_idx"] = padding
    return Layer("Embedding", options, "indices", _roles(call, "weight"))


def _norm(name: str) -> Callable[[Call], Layer | None]:
    def make(call: Call) -> Layer | None:
        if not (_holds(call, "weight") and _holds(call, "bias")):
            return None
        options: dict[str, Json] = {"eps": call.value("eps", 1e-5)}
        if name == "LayerNorm":
            options["normalized_shape"] = call.value("normalized_shape")
        else:
            options |= {"num_groups": call.value("num_groups"), "num_channels": call.sizes["weight"][0]}
        return Layer(name, options, tensors=_roles(call, "weight", "bias"))

    return make


def _activation(name: str, **defaults: Json) -> Callable[[Call], Layer | None]:
    """A layer whose options are the operator's arguments, here with their defaults."""
    return lambda call: Layer(name, {key: call.value(key, default) for key, default in defaults.items()}, "self")


def _clip(call: Call) -> Layer | None:
    low, high = call.value("min_val", -1.0), call.value("max_val", 1.0)
    return (
        Layer("ReLU6", {}, "self")
        if (low, high) == (0, 6)
        else Layer("Hardtanh", {"min_val": low, "max_val": high}, "self")
    )


def _dropout(call: Call) -> Layer | None:
    return None if call.value("train") else Layer("Dropout", {"p": call.value("p", 0.5)})


_MAKERS: dict[str, Callable[[Call], Layer | None]] = {
    **{f"conv{rank}d.{kind}": _convolution(rank) for rank in (1, 2, 3) for kind in ("default", "padding")},
    "conv_transpose1d.default": _convolution(1, transposed=True),
    "conv_transpose2d.input": _convolution(2, transposed=True),
    "conv_transpose3d.input": _convolution(3, transposed=True),
    "linear.default": _linear,
    "batch_norm.default": _batch_norm,
    "embedding.default": _embedding,
    "layer_norm.default": _norm("LayerNorm"),
    "group_norm.default": _norm("GroupNorm"),
    "dropout.default": _dropout,
    "dropout_.default": _dropout,
    "relu.default": _activation("ReLU"),
    "relu6.default": _activation("ReLU6"),
    "hardtanh.default": _clip,
    "sigmoid.default": _activation("Sigmoid"),
    "tanh.default": _activation("Tanh"),
    "silu.default": _activation("SiLU"),
    "gelu.default": _activation("GELU", approximate="none"),
    "hardswish.default": _activation("Hardswish"),
    "hardsigmoid.default": _activation("Hardsigmoid"),
    "leaky_relu.default": _activation("LeakyReLU", negative_slope=0.01),
}


def _holds(call: Call, role: str) -> bool:
    return role in call.weights


def _roles(call: Call, *roles: str) -> dict[str, str]:
    return {role: call.weights[role] for role in roles if role in call.weights}


def _tupled(options: Mapping[str, Json], rank: int) -> dict[str, Json]:
    """The options with sizes of one number repeated for each dimension, as the operator reads them."""
    sizes = ("stride", "padding", "dilation", "output_padding")
    return {
        key: value * rank if key in sizes and isinstance(value, list) and len(value) == 1 else value
        for key, value in options.items()
    }
