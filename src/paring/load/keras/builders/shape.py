"""Padding, cropping, reshaping, resizing."""

# ruff: noqa: ARG001 (every builder takes the same arguments)

from __future__ import annotations

from typing import Any

from paring.load.keras.builders.convolution import spatial
from paring.load.keras.sheet import Sheet, Unsupported, Value


def zero_padding(sheet: Sheet, layer: Any, x: Value) -> Value:
    """ZeroPadding1D to 3D."""
    amounts = _pairs(layer.padding)
    pad = [amount for pair in reversed(amounts) for amount in pair]
    return _spatially(sheet, layer, x, "pad", pad=pad)


def cropping(sheet: Sheet, layer: Any, x: Value) -> Value:
    """Cropping1D to 3D."""
    return _spatially(sheet, layer, x, "crop", amounts=[list(pair) for pair in _pairs(layer.cropping)])


def flatten(sheet: Sheet, layer: Any, x: Value) -> Value:
    """Flatten in Keras's order, which has the channels last."""
    if not x.shape:
        return sheet.value(sheet.add("unsqueeze", x.reference, dim=1))
    reference = _either(sheet, x)
    rank = len(x.shape)
    if layer.data_format == "channels_first" and rank > 1:
        reference = sheet.add("permute", sheet.plain(x), part="order", dims=[0, *range(2, rank + 1), 1])
    return sheet.value(sheet.add("flatten", reference, start_dim=1) if rank > 1 else reference)


def reshape(sheet: Sheet, layer: Any, x: Value) -> Value:
    """Reshape in Keras's order."""
    return reshaped(sheet, x)


def reshaped(sheet: Sheet, x: Value) -> Value:
    """The value in the shape of the layer's answer."""
    shape = list(sheet.shape)
    pixel, rank = sheet.pixels.get(x.reference, ("", 0))
    if rank == len(shape) and set(shape[:-1]) == {1}:  # a global pooling flattened it just now
        return sheet.value(pixel, moved=True)
    reference = _either(sheet, x)
    if len(shape) > 2 and set(shape[:-1]) == {1}:  # one pixel: its channels are as well placed in front
        return sheet.value(sheet.add("reshape", reference, shape=[shape[-1], *shape[:-1]]), moved=True)
    return sheet.value(sheet.add("reshape", reference, shape=shape))


def permute(sheet: Sheet, layer: Any, x: Value) -> Value:
    """Permute."""
    return sheet.value(sheet.add("permute", sheet.plain(x), dims=[0, *layer.dims]))


def repeat_vector(sheet: Sheet, layer: Any, x: Value) -> Value:
    """RepeatVector: (batch, values) to (batch, n, values)."""
    return sheet.value(sheet.add("broadcast_repeat", sheet.plain(x), times=layer.n))


def up_sampling(sheet: Sheet, layer: Any, x: Value) -> Value:
    """UpSampling1D to 3D."""
    factors = [layer.size] if isinstance(layer.size, int) else list(layer.size)
    mode = getattr(layer, "interpolation", "nearest")
    if not hasattr(layer, "data_format"):  # UpSampling1D repeats steps
        found = sheet.add("repeat_interleave", sheet.plain(x), repeats=factors[0], dim=1)
        return sheet.value(found)
    _, sizes, _ = spatial(sheet, layer, x)
    if mode not in ("nearest", "bilinear"):
        raise Unsupported(f"interpolation {mode}")
    size = [one * factor for one, factor in zip(sizes, factors, strict=True)]
    return _spatially(sheet, layer, x, "resize", size=size, mode=mode)


def resizing(sheet: Sheet, layer: Any, x: Value) -> Value:
    """Resizing of pictures."""
    if layer.crop_to_aspect_ratio or getattr(layer, "pad_to_aspect_ratio", False):
        raise Unsupported("keeping the aspect ratio")
    modes = {"nearest": "nearest-exact", "bilinear": "bilinear"}
    if layer.interpolation not in modes:
        raise Unsupported(f"interpolation {layer.interpolation}")
    smaller = layer.antialias and layer.interpolation != "nearest"
    options = {"antialias": True} if smaller else {}
    return _spatially(
        sheet, layer, x, "resize", size=[layer.height, layer.width], mode=modes[layer.interpolation], **options
    )


def center_crop(sheet: Sheet, layer: Any, x: Value) -> Value:
    """CenterCrop of pictures that are large enough."""
    _, sizes, _ = spatial(sheet, layer, x)
    wanted = (layer.height, layer.width)
    if any(size < one for size, one in zip(sizes, wanted, strict=True)):
        raise Unsupported("a crop larger than its input")
    amounts = [[(s - w) // 2, s - w - (s - w) // 2] for s, w in zip(sizes, wanted, strict=True)]
    return _spatially(sheet, layer, x, "crop", amounts=amounts)


def _either(sheet: Sheet, x: Value) -> str:
    """The reference for a reading in Keras's order, which is any order where there is but one pixel."""
    return x.reference if x.moved and set(x.shape[:-1]) == {1} else sheet.plain(x)


def _spatially(sheet: Sheet, layer: Any, x: Value, op: str, **options: Any) -> Value:
    last = getattr(layer, "data_format", "channels_last") == "channels_last"
    reference = sheet.first(x) if last else sheet.plain(x)
    return sheet.value(sheet.add(op, reference, **options), last)


def _pairs(amounts: Any) -> list[tuple[int, int]]:
    """(1, 2) of a sequence, ((1, 2), (3, 4)) of a picture."""
    if isinstance(amounts[0], int):
        return [(int(amounts[0]), int(amounts[1]))]
    return [(int(before), int(after)) for before, after in amounts]


BUILDERS = {
    **{f"ZeroPadding{rank}D": zero_padding for rank in (1, 2, 3)},
    **{f"Cropping{rank}D": cropping for rank in (1, 2, 3)},
    **{f"UpSampling{rank}D": up_sampling for rank in (1, 2, 3)},
    "Flatten": flatten,
    "Reshape": reshape,
    "Permute": permute,
    "RepeatVector": repeat_vector,
    "Resizing": resizing,
    "CenterCrop": center_crop,
}
