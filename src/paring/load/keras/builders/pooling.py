"""Poolings. What "same" pads counts neither for a maximum nor for an average, as in TensorFlow."""

# ruff: noqa: ARG001 (every builder takes the same arguments)

from __future__ import annotations

from typing import Any

import torch

from paring.load.keras.builders.convolution import padded, same, spatial
from paring.load.keras.sheet import Sheet, Value

_LOWEST = torch.finfo(torch.float32).min


def maximum(sheet: Sheet, layer: Any, x: Value) -> Value:
    """MaxPooling1D to 3D."""
    reference, sizes, _ = spatial(sheet, layer, x)
    amounts = _amounts(layer, sizes)
    options = _own_padding(layer, amounts)
    if options is None:
        reference, padding = padded(sheet, reference, amounts, _LOWEST)
        options = {"padding": padding}
    return _pool(sheet, layer, "MaxPool", reference, **options)


def average(sheet: Sheet, layer: Any, x: Value) -> Value:
    """AveragePooling1D to 3D."""
    reference, sizes, _ = spatial(sheet, layer, x)
    amounts = _amounts(layer, sizes)
    options = _own_padding(layer, amounts)
    if options is not None:
        return _pool(sheet, layer, "AvgPool", reference, count_include_pad=False, **options)
    reference, _ = padded(sheet, reference, amounts)
    found = _pool(sheet, layer, "AvgPool", reference)
    # the padding was averaged in: share each sum among the pixels that are real
    share = torch.ones(())
    for size, wide, stride, (before, _) in zip(sizes, layer.pool_size, layer.strides, amounts, strict=True):
        starts = torch.arange(-(-size // stride)) * stride - before
        real = (starts + wide).clamp(max=size) - starts.clamp(min=0)
        share = share.unsqueeze(-1) * (wide / real)
    scale = sheet.constant(share.unsqueeze(0), "share")
    return sheet.value(sheet.add("multiply", found.reference, scale, part="shared"), _last(layer))


def over_all(sheet: Sheet, layer: Any, x: Value, mask: Any = None) -> Value:
    """GlobalAveragePooling1D to 3D and GlobalMaxPooling1D to 3D."""
    rank = len(x.shape)
    first = x.moved if _last(layer) else True
    dims = list(range(2, rank + 1)) if first else list(range(1, rank))
    op = "mean" if "Average" in type(layer).__name__ else "amax"
    reference = x.reference if _last(layer) else sheet.plain(x)
    if not first:
        return sheet.value(sheet.add(op, reference, dim=dims, keepdim=layer.keepdims))
    # LiteRT needs no transposition for a pixel that is flattened afterwards, but for one that is dropped
    found = sheet.add(op, reference, dim=dims, keepdim=True)
    if layer.keepdims:
        return sheet.value(found, moved=_last(layer))
    flat = sheet.add("flatten", found, part="flat", start_dim=1)
    sheet.pixels[flat] = (found, rank)
    return sheet.value(flat)


def adaptive(sheet: Sheet, layer: Any, x: Value) -> Value:
    """AdaptiveAveragePooling1D to 3D and AdaptiveMaxPooling1D to 3D."""
    reference, sizes, _ = spatial(sheet, layer, x)
    size = layer.output_size
    wanted = [size] * len(sizes) if isinstance(size, int) else list(size)
    kind = "AdaptiveAvgPool" if "Average" in type(layer).__name__ else "AdaptiveMaxPool"
    found = sheet.add(f"{kind}{len(sizes)}d", reference, output_size=wanted)
    return sheet.value(found, _last(layer))


def _pool(sheet: Sheet, layer: Any, kind: str, reference: str, **options: Any) -> Value:
    rank = len(layer.pool_size)
    found = sheet.add(
        f"{kind}{rank}d", reference, kernel_size=list(layer.pool_size), stride=list(layer.strides), **options
    )
    return sheet.value(found, _last(layer))


def _own_padding(layer: Any, amounts: list[tuple[int, int]]) -> dict[str, Any] | None:
    """How torch pads by itself: as much on both sides, or one more at the end (a last window over the edge)."""
    if all(before == after for before, after in amounts):
        return {"padding": [before for before, _ in amounts]}
    strides = layer.strides
    if all(before == after or stride > 1 for (before, after), stride in zip(amounts, strides, strict=True)):
        return {"padding": [before for before, _ in amounts], "ceil_mode": True}
    return None


def _amounts(layer: Any, sizes: tuple[int, ...]) -> list[tuple[int, int]]:
    if layer.padding != "same":
        return [(0, 0)] * len(sizes)
    return [same(*one) for one in zip(sizes, layer.pool_size, layer.strides, strict=True)]


def _last(layer: Any) -> bool:
    return bool(layer.data_format == "channels_last")


BUILDERS = {
    **{f"MaxPooling{rank}D": maximum for rank in (1, 2, 3)},
    **{f"AveragePooling{rank}D": average for rank in (1, 2, 3)},
    **{f"Global{kind}Pooling{rank}D": over_all for kind in ("Average", "Max") for rank in (1, 2, 3)},
    **{f"Adaptive{kind}Pooling{rank}D": adaptive for kind in ("Average", "Max") for rank in (1, 2, 3)},
}
