"""Normalizations."""

# ruff: noqa: ARG001 (every builder takes the same arguments)

from __future__ import annotations

from typing import Any

import torch

from paring.load.keras.sheet import Sheet, Unsupported, Value, axis, weight


def batch(sheet: Sheet, layer: Any, x: Value, mask: Any = None) -> Value:
    """BatchNormalization with its moving statistics. torch's momentum is one less Keras's."""
    rank, over = len(x.shape), layer.axis[0] if isinstance(layer.axis, list | tuple) else layer.axis
    over %= rank + 1
    channels = x.shape[over - 1]
    mean, variance = weight(layer.moving_mean), weight(layer.moving_variance)
    scale, shift = getattr(layer, "gamma", None), getattr(layer, "beta", None)
    tensors = {
        "running_mean": mean,
        "running_var": variance,
        "num_batches_tracked": torch.zeros((), dtype=torch.int64),
    }
    affine = scale is not None or shift is not None
    if affine:
        tensors["weight"] = torch.ones(channels) if scale is None else weight(scale)
        tensors["bias"] = torch.zeros(channels) if shift is None else weight(shift)
    reference, moved, back = _channels_second(sheet, x, over)
    found = sheet.add(
        f"BatchNorm{max(rank - 1, 1)}d",
        reference,
        tensors=tensors,
        num_features=channels,
        eps=layer.epsilon,
        momentum=1.0 - layer.momentum,
        affine=affine,
    )
    if back:
        found = sheet.add("permute", found, part="back", dims=back)
    return sheet.value(found, moved)


def layer_norm(sheet: Sheet, layer: Any, x: Value) -> Value:
    """LayerNormalization, over the last axes or any others."""
    rank = len(x.shape) + 1
    axes = sorted(one % rank for one in (layer.axis if isinstance(layer.axis, list | tuple) else [layer.axis]))
    rest = [dim for dim in range(rank) if dim not in axes]
    order = rest + axes
    reference = sheet.plain(x)
    if order != list(range(rank)):
        reference = sheet.add("permute", reference, part="order", dims=order)
    shape = [x.shape[dim - 1] for dim in axes]
    scale, shift = getattr(layer, "gamma", None), getattr(layer, "beta", None)
    tensors = {}
    if scale is not None or shift is not None:
        tensors["weight"] = torch.ones(shape) if scale is None else weight(scale)
    if shift is not None:
        tensors["bias"] = weight(shift)
    if getattr(layer, "rms_scaling", False):
        raise Unsupported("rms_scaling")
    found = sheet.add(
        "LayerNorm",
        reference,
        tensors=tensors,
        normalized_shape=shape,
        eps=layer.epsilon,
        elementwise_affine=bool(tensors),
        bias=shift is not None,
    )
    if order != list(range(rank)):
        found = sheet.add("permute", found, part="back", dims=[order.index(dim) for dim in range(rank)])
    return sheet.value(found)


def rms_norm(sheet: Sheet, layer: Any, x: Value) -> Value:
    """RMSNormalization over the last axis."""
    over = layer.axis if isinstance(layer.axis, int) else layer.axis[0]
    if over not in (-1, len(x.shape)):
        raise Unsupported("an axis that is not the last")
    scale = weight(layer.scale)
    found = sheet.add(
        "RMSNorm",
        sheet.plain(x),
        tensors={"weight": scale},
        normalized_shape=list(scale.shape),
        eps=layer.epsilon,
    )
    return sheet.value(found)


def group(sheet: Sheet, layer: Any, x: Value) -> Value:
    """GroupNormalization."""
    over = layer.axis % (len(x.shape) + 1)
    channels = x.shape[over - 1]
    scale, shift = getattr(layer, "gamma", None), getattr(layer, "beta", None)
    affine = scale is not None or shift is not None
    tensors = {}
    if affine:
        tensors["weight"] = torch.ones(channels) if scale is None else weight(scale)
        tensors["bias"] = torch.zeros(channels) if shift is None else weight(shift)
    reference, moved, back = _channels_second(sheet, x, over)
    found = sheet.add(
        "GroupNorm",
        reference,
        tensors=tensors,
        num_groups=layer.groups,
        num_channels=channels,
        eps=layer.epsilon,
        affine=affine,
    )
    if back:
        found = sheet.add("permute", found, part="back", dims=back)
    return sheet.value(found, moved)


def unit(sheet: Sheet, layer: Any, x: Value) -> Value:
    """UnitNormalization: to a Euclidean norm of one."""
    axes = layer.axis if isinstance(layer.axis, list | tuple) else [layer.axis]
    dims = [axis(one, x, x.moved) for one in axes]
    return sheet.value(sheet.add("unit", x.reference, dim=dims, eps=1e-12), x.moved)


def fixed(sheet: Sheet, layer: Any, x: Value) -> Value:
    """Normalization by stored mean and variance: (x - mean) / deviation, or its inverse."""
    mean, variance = weight(layer.mean).float(), weight(layer.variance).float()
    deviation = variance.sqrt().clamp(min=1e-7)
    if layer.invert:
        return affine(sheet, x, deviation, mean)
    return affine(sheet, x, 1 / deviation, -mean / deviation)


def rescaling(sheet: Sheet, layer: Any, x: Value) -> Value:
    """Rescaling: scale and offset, numbers or one for each channel."""
    scale, offset = torch.as_tensor(layer.scale).float(), torch.as_tensor(layer.offset).float()
    return affine(sheet, x, scale, offset)


def affine(sheet: Sheet, x: Value, scale: torch.Tensor, offset: torch.Tensor) -> Value:
    """X * scale + offset, both broadcast against Keras's order of the dimensions."""
    reference = x.reference
    for op, tensor, nothing in (("multiply", scale, 1.0), ("add", offset, 0.0)):
        if bool((tensor == nothing).all()):
            continue
        if tensor.numel() == 1:
            reference = sheet.add(
                "constant_arithmetic", reference, part=op, function=op, value=float(tensor.reshape(()))
            )
            continue
        wide = tensor.reshape((1,) * (len(x.shape) + 1 - tensor.ndim) + tuple(tensor.shape))
        wide = wide.movedim(-1, 1) if x.moved else wide
        reference = sheet.add(op, reference, sheet.constant(wide, f"{op}_value"), part=op)
    return sheet.value(reference, x.moved)


def spectral(sheet: Sheet, layer: Any, x: Value) -> Value:
    """SpectralNormalization: its layer, whose weights it changes while training only."""
    from paring.load.keras.builders import table

    build = table().get(type(layer.layer).__name__)
    if build is None:
        raise Unsupported(f"a {type(layer.layer).__name__} inside")
    with sheet.drawing(layer.layer, layer.layer.name, sheet.shapes):
        found: Value = build(sheet, layer.layer, x)
    return found


def _channels_second(sheet: Sheet, x: Value, over: int) -> tuple[str, bool, list[int] | None]:
    """The reference with Keras's axis `over` after the batch; whether it is moved; how to get back if neither."""
    rank = len(x.shape) + 1
    if over == rank - 1 and rank > 2:
        return sheet.first(x), True, None
    if over == 1:
        return sheet.plain(x), False, None
    order = [0, over, *(dim for dim in range(1, rank) if dim != over)]
    reference = sheet.add("permute", sheet.plain(x), part="order", dims=order)
    return reference, False, [order.index(dim) for dim in range(rank)]


BUILDERS = {
    "BatchNormalization": batch,
    "LayerNormalization": layer_norm,
    "RMSNormalization": rms_norm,
    "GroupNormalization": group,
    "UnitNormalization": unit,
    "Normalization": fixed,
    "Rescaling": rescaling,
    "SpectralNormalization": spectral,
}
