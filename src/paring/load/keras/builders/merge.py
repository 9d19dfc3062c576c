"""Merges of several values."""

# ruff: noqa: ARG001 (every builder takes the same arguments)

from __future__ import annotations

from typing import Any

from paring.load.keras.sheet import Sheet, Unsupported, Value, axis


def folded(op: str) -> Any:
    """A builder for a merge that goes pair by pair."""

    def build(sheet: Sheet, layer: Any, x: list[Value]) -> Value:
        references, moved = _same_rank(sheet, x)
        found = references[0]
        for position, other in enumerate(references[1:], 1):
            found = sheet.add(op, found, other, part="" if position == len(references) - 1 else f"sum{position}")
        return sheet.value(found, moved)

    return build


def average(sheet: Sheet, layer: Any, x: list[Value]) -> Value:
    """Average."""
    references, moved = _same_rank(sheet, x)
    found = references[0]
    for position, other in enumerate(references[1:], 1):
        found = sheet.add("add", found, other, part=f"sum{position}")
    found = sheet.add("constant_arithmetic", found, function="multiply", value=1 / len(references))
    return sheet.value(found, moved)


def concatenate(sheet: Sheet, layer: Any, x: list[Value]) -> Value:
    """Concatenate along one axis."""
    references, moved = sheet.together(x)
    return sheet.value(sheet.add("concatenate", *references, dim=axis(layer.axis, x[0], moved)), moved)


def dot(sheet: Sheet, layer: Any, x: list[Value]) -> Value:
    """Dot: contracts one axis of each."""
    one, other = x
    axes = [layer.axes] * 2 if isinstance(layer.axes, int) else list(layer.axes)
    axes = [number % (len(value.shape) + 1) for number, value in zip(axes, x, strict=True)]
    options: dict[str, Any] = {"axes": axes, "normalize": bool(layer.normalize)}
    return sheet.value(sheet.add("batch_dot", sheet.plain(one), sheet.plain(other), **options))


def _same_rank(sheet: Sheet, x: list[Value]) -> tuple[list[str], bool]:
    if len({len(value.shape) for value in x}) > 1:
        raise Unsupported("inputs of different ranks")
    return sheet.together(x)


BUILDERS = {
    "Add": folded("add"),
    "Subtract": folded("subtract"),
    "Multiply": folded("multiply"),
    "Maximum": folded("maximum"),
    "Minimum": folded("minimum"),
    "Average": average,
    "Concatenate": concatenate,
    "Dot": dot,
}
