"""Dense layers, embeddings, and what does nothing once training is over."""

# ruff: noqa: ARG001 (every builder takes the same arguments)

from __future__ import annotations

from typing import Any

from paring.load.keras.builders.activation import activate
from paring.load.keras.sheet import Sheet, Unsupported, Value, weight


def dense(sheet: Sheet, layer: Any, x: Value) -> Value:
    """Dense, over the last axis."""
    return activate(sheet, layer.activation, sheet.value(_linear(sheet, sheet.plain(x), layer.kernel, layer.bias)))


def einsum_dense(sheet: Sheet, layer: Any, x: Value) -> Value:
    """EinsumDense: a Linear where the equation contracts the last axes in order, else an einsum."""
    left, _, result = layer.equation.replace(" ", "").partition("->")
    given, kernel = left.split(",")
    given, result = _letters(given, len(x.shape) + 1), _letters(result, len(sheet.shape) + 1)
    shared = [letter for letter in kernel if letter in given]
    rest = [letter for letter in kernel if letter not in given]
    reference, stored = sheet.plain(x), weight(layer.kernel)
    contracts = "".join(shared + rest) == kernel and given.endswith("".join(shared)) and shared
    lead = given[: len(given) - len(shared)]
    bias = None if layer.bias is None else weight(layer.bias)
    if contracts and result == lead + "".join(rest) and not set(lead) & set(kernel):
        inner = stored.shape[: len(shared)].numel()
        matrix = stored.reshape(inner, -1)
        if bias is not None:
            bias = bias.expand(stored.shape[len(shared) :]).reshape(-1)
        if len(shared) > 1:
            reference = sheet.add("reshape", reference, part="in", shape=[*x.shape[: len(lead) - 1], inner])
        reference = _linear(sheet, reference, matrix, bias)
        if len(rest) != 1:
            reference = sheet.add("reshape", reference, part="out", shape=list(sheet.shape))
    else:
        reference = sheet.add(
            "einsum", reference, sheet.parameter(stored, "kernel"), equation=f"{given},{kernel}->{result}"
        )
        if bias is not None:
            reference = sheet.add("add", reference, sheet.parameter(bias, "bias"), part="biased")
    return activate(sheet, layer.activation, sheet.value(reference))


def embedding(sheet: Sheet, layer: Any, x: Value) -> Value:
    """Embedding: integers (batch, …) to rows of a table."""
    table = weight(layer.embeddings)
    indices = sheet.add("cast", sheet.plain(x), part="indices", dtype="int32")
    found = sheet.add(
        "Embedding",
        indices,
        tensors={"weight": table},
        num_embeddings=table.shape[0],
        embedding_dim=table.shape[1],
    )
    return sheet.value(found)


def nothing(sheet: Sheet, layer: Any, x: Any, *_: Any, **__: Any) -> Any:
    """Layers that act while training only, or never."""
    return x


def dropout(sheet: Sheet, layer: Any, x: Value) -> Value:
    """Dropout, kept for whoever trains on."""
    return Value(sheet.add("Dropout", x.reference, p=float(layer.rate)), x.shape, x.moved)


def masking(sheet: Sheet, layer: Any, x: Value) -> Value:
    """Masking: zeroes the steps that hold nothing but the masked value. Layers that heed the mask are refused."""
    return sheet.value(sheet.add("mask_out", sheet.plain(x), value=float(layer.mask_value)))


def layer_scale(sheet: Sheet, layer: Any, x: Value) -> Value:
    """LayerScale of keras.applications: one factor for each channel."""
    factor = weight(layer.gamma)
    if x.moved:
        factor = factor.reshape(-1, *(1,) * (len(x.shape) - 1))
    return sheet.value(sheet.add("multiply", x.reference, sheet.parameter(factor, "gamma")), x.moved)


def scaled_sum(sheet: Sheet, layer: Any, x: list[Value]) -> Value:
    """CustomScaleLayer of keras.applications: the first plus the second, scaled."""
    (one, other), moved = sheet.together(x)
    scaled = sheet.add("constant_arithmetic", other, part="scaled", function="multiply", value=float(layer.scale))
    return sheet.value(sheet.add("add", one, scaled), moved)


def _linear(sheet: Sheet, reference: str, kernel: Any, bias: Any) -> str:
    if getattr(kernel, "dtype", None) in ("int8", "uint8"):
        raise Unsupported("weights that Keras has quantized")
    matrix = weight(kernel).t()
    return sheet.add(
        "Linear",
        reference,
        tensors={"weight": matrix} | ({} if bias is None else {"bias": bias}),
        in_features=matrix.shape[1],
        out_features=matrix.shape[0],
        bias=bias is not None,
    )


def _letters(part: str, rank: int) -> str:
    """An operand of an equation with its dots written out."""
    if "..." not in part:
        return part
    spare = "".join(chr(ord("A") + i) for i in range(rank - len(part) + 3))
    return part.replace("...", spare)


IDENTITIES = (
    "ActivityRegularization", "AlphaDropout", "GaussianDropout", "GaussianNoise", "Identity", "SpatialDropout1D",
    "SpatialDropout2D", "SpatialDropout3D", "StochasticDepth",
    *(f"Random{kind}" for kind in (
        "Brightness", "ColorDegeneration", "ColorJitter", "Contrast", "ElasticTransform", "Erasing", "Flip",
        "GaussianBlur", "Grayscale", "Hue", "Invert", "Perspective", "Posterization", "Rotation", "Saturation",
        "Sharpness", "Shear", "Translation", "Zoom",
    )),
)  # fmt: skip

BUILDERS = {
    "Dense": dense,
    "EinsumDense": einsum_dense,
    "Embedding": embedding,
    "Dropout": dropout,
    "Masking": masking,
    "LayerScale": layer_scale,
    "CustomScaleLayer": scaled_sum,
    **dict.fromkeys(IDENTITIES, nothing),
}
