"""Attention."""

from __future__ import annotations

from typing import Any

from paring.load.keras.builders.core import einsum_dense
from paring.load.keras.sheet import Sheet, Unsupported, Value, weight


def multi_head(
    sheet: Sheet,
    layer: Any,
    query: Value,
    value: Value,
    key: Value | None = None,
    attention_mask: Value | None = None,
    return_attention_scores: bool = False,
    use_causal_mask: bool = False,
    **_: Any,
) -> Value:
    """MultiHeadAttention and GroupedQueryAttention of sequences (batch, steps, features)."""
    if return_attention_scores:
        raise Unsupported("attention scores as an answer")
    if len(query.shape) != 2 or getattr(layer, "_sliding_window", None) or getattr(layer, "_use_gate", False):
        raise Unsupported("inputs that are no sequences, a sliding window or a gate")
    grouped = hasattr(layer, "num_key_value_heads")
    heads = layer.num_query_heads if grouped else layer._num_heads
    key = value if key is None else key
    mask = None if attention_mask is None else _mask(sheet, attention_mask)
    dense = (layer._query_dense, layer._key_dense, layer._value_dense)
    parts = []
    for part, inner, given in zip(("query", "key", "value"), dense, (query, key, value), strict=True):
        found = _project(sheet, inner, given, part, (given.shape[0], *weight(inner.kernel).shape[1:]))
        reference = sheet.add("permute", found.reference, part=f"{part}_heads", dims=[0, 2, 1, 3])
        if found.shape[1] != heads:  # several query heads look at one key
            repeats = heads // found.shape[1]
            reference = sheet.add("repeat_interleave", reference, part=f"{part}_shared", repeats=repeats, dim=1)
        parts.append(reference)
    scale = float(layer._inverse_sqrt_head_dim if grouped else layer._inverse_sqrt_key_dim)
    attended = sheet.add("scaled_attention", *parts, mask, part="attention", scale=scale, causal=bool(use_causal_mask))
    width = weight(dense[2].kernel).shape[-1]
    back = Value(sheet.add("permute", attended, part="steps", dims=[0, 2, 1, 3]), (query.shape[0], heads, width))
    return sheet.value(_project(sheet, layer._output_dense, back, "output", sheet.shape).reference)


def attention(
    sheet: Sheet,
    layer: Any,
    inputs: list[Value],
    mask: Any = None,
    return_attention_scores: bool = False,
    use_causal_mask: bool = False,
    **_: Any,
) -> Value:
    """Attention (Luong) and AdditiveAttention (Bahdanau)."""
    if return_attention_scores or mask is not None:
        raise Unsupported("a mask, or attention scores as an answer")
    query, value = sheet.plain(inputs[0]), sheet.plain(inputs[1])
    key = sheet.plain(inputs[2]) if len(inputs) > 2 else value
    scale = None if getattr(layer, "scale", None) is None else sheet.parameter(layer.scale, "scale")
    if type(layer).__name__ == "AdditiveAttention":
        scores = sheet.add("additive_scores", query, key, *([scale] if scale else []), part="scores")
    elif layer.score_mode == "dot":
        turned = sheet.add("permute", key, part="key", dims=[0, 2, 1])
        scores = sheet.add("matmul", query, turned, part="scores")
        if scale:
            scores = sheet.add("multiply", scores, scale, part="scaled")
    else:
        scores = sheet.add("additive_scores", query, key, *([scale] if scale else []), part="scores")
        factor = sheet.parameter(layer.concat_score_weight, "weight")
        scores = sheet.add("multiply", scores, factor, part="weighted")
    weights = sheet.add("scores_softmax", scores, part="softmax", causal=bool(use_causal_mask))
    return sheet.value(sheet.add("matmul", weights, value))


def _project(sheet: Sheet, inner: Any, x: Value, part: str, shape: tuple[int, ...]) -> Value:
    with sheet.drawing(inner, f"{sheet.name}_{part}", [shape]):
        return einsum_dense(sheet, inner, x)


def _mask(sheet: Sheet, mask: Value) -> str:
    """(batch, queries, keys) to booleans for every head."""
    found = sheet.add("cast", sheet.plain(mask), part="mask", dtype="bool")
    return sheet.add("unsqueeze", found, part="mask_heads", dim=1) if len(mask.shape) == 2 else found


BUILDERS = {
    "MultiHeadAttention": multi_head,
    "GroupedQueryAttention": multi_head,
    "GroupQueryAttention": multi_head,
    "Attention": attention,
    "AdditiveAttention": attention,
}
