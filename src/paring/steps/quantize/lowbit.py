"""Weights on the grid of few bits: what all steps but those with static scales have in common.

These are `quantize.dynamic`, `quantize.weights`, `quantize.float16` and `quantize.palette`. The network stays one of
ordinary float layers; only its weights become numbers that the file can hold, weight = scale × code or a value of a
table, and an invariant `codes` says for each layer how the file is to store it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from paring.core.codes import LARGEST, Codes, Stored
from paring.core.errors import ParingError
from paring.core.model import Event, Invariant, Model, Skipped
from paring.core.step import StepConfig
from paring.core.target import Limits
from paring.steps.quantize.layers import Layer, fold, layers
from paring.steps.select import select

Ranges = Literal["minmax", "mse"]
_FINEST_HALF = 2.0**-24  # the smallest float16
_LARGEST_HALF = torch.finfo(torch.float16).max
_LOST_HALF = 1e-2  # error of a weight in float16, of its norm; where no weight is too small for it, it is 3e-4


@dataclass(frozen=True)
class Wanted:
    """What one of the four steps asks for.

    Attributes:
        dtype: of the stored weights.
        dynamic: whether layers compute on integers, activations quantized at each inference.
        ranges: how the range of a weight is found; None for `mse` of int4, `minmax` of all others.
        block: size of a group with a scale of its own along the input axis; 0 for one scale per channel.
        only: patterns of layers; all if empty.
        keep_float: patterns of layers that stay as they are.
    """

    dtype: Stored
    dynamic: bool = False
    ranges: Ranges | None = None
    block: int = 0
    only: tuple[str, ...] = ()
    keep_float: tuple[str, ...] = ()


def store(model: Model, name: str, config: StepConfig, wanted: Wanted, limits: Limits) -> Model:
    """The model with the weights of the chosen layers on the grid.

    Args:
        model: it is untouched.
        name: of the step.
        config: of the step.
        wanted: what it asks for.
        limits: of the targets.

    Raises:
        ParingError: the targets lack it, no layer is left to store, or the model cannot be traced.
        UnknownName: a pattern matches no layer.
    """
    if model.quantized:
        raise ParingError("the model is quantized already", name, "place it before the other step, or leave one out")
    refuse_unknown(wanted, limits, name)
    there = layers(model)
    reasons = _reasons(model, there, wanted, limits, name)
    chosen = [layer for layer in there if not reasons[layer.name]]
    skipped = tuple(Skipped(layer, reason) for layer, reason in reasons.items() if reason)
    module, edits = fold(model, chosen)
    if wanted.dtype == "float16":
        weights = {one.name: module.get_submodule(one.name).get_parameter("weight").detach() for one in chosen}
        lost = {name: _lost_in_half(weight) for name, weight in weights.items()}
        chosen = [layer for layer in chosen if not lost[layer.name]]
        skipped += tuple(Skipped(layer, reason) for layer, reason in lost.items() if reason)
    if not chosen:
        raise ParingError(
            f"no layer could be stored in {wanted.dtype}: "
            + "; ".join({one.reason: f"{one.layer}: {one.reason}" for one in reversed(skipped)}.values()),
            f"{name} of {model.source}",
            "leave the step out, or loosen only and keep_float",
        )
    invariants, known = [], dict[int, Codes]()
    ranges = wanted.ranges or ("mse" if wanted.dtype == "int4" else "minmax")
    for layer in chosen:
        weight = module.get_submodule(layer.name).get_parameter("weight")
        dynamic = wanted.dynamic and layer.kind != "embedding"  # which has no activations but its rows
        if id(weight) not in known:  # one weight may serve two layers
            rounded, known[id(weight)] = on_grid(weight.detach(), wanted.dtype, layer.axis, wanted.block, ranges)
            with torch.no_grad():
                weight.copy_(rounded)
        codes = known[id(weight)]
        codes = replace(codes, activations="dynamic" if dynamic else "float32")
        invariants.append(Invariant("codes", layer.name, codes.as_json()))
    return model.changed(
        module,
        Event(name, config.model_dump(mode="json"), _told(chosen, wanted, limits), skipped),
        edits=edits,
        invariants=tuple(invariants),
    )


def on_grid(
    weight: Tensor, dtype: Stored, axis: int, block: int = 0, ranges: Ranges = "minmax"
) -> tuple[Tensor, Codes]:
    """The nearest weight that a file can store in `dtype`, and how.

    Args:
        weight: float32, finite, two axes or more.
        dtype: of what is stored.
        axis: of the channels.
        block: size of a group along the other axis of a matrix, a divisor of it; 0 for one scale per channel. Scales
            of groups are bfloat16 numbers that float16 can hold too, as LiteRT's file stores them.
        ranges: `minmax`: no weight is clipped; `mse`: the range with the smallest squared error.
    """
    if dtype == "float16":
        return weight.clamp(-_LARGEST_HALF, _LARGEST_HALF).half().float(), Codes("float16", axis=axis)
    if dtype.startswith("palette"):
        from paring.steps.quantize.palette import nearest, table_of

        array = weight.numpy()
        table = table_of(array, int(dtype.removeprefix("palette")))
        return torch.from_numpy(nearest(array, table)), Codes(dtype, axis=axis, table=tuple(table.tolist()))
    from paring.steps.quantize.observers import SMALLEST_SCALE, smallest_error

    largest_code = LARGEST[dtype]
    channels = weight.movedim(axis, 0)
    groups = channels.reshape(-1, block) if block else channels.flatten(1)
    extreme = smallest_error(groups, largest_code) if ranges == "mse" else groups.abs().amax(1)
    scales = (extreme / largest_code).clamp_min(SMALLEST_SCALE)
    if block:
        scales = scales.bfloat16().half().float().clamp_min(_FINEST_HALF)
    codes = (groups / scales[:, None]).round_().clamp_(-largest_code, largest_code)
    rounded = (codes * scales[:, None]).reshape(channels.shape).movedim(0, axis)
    return rounded, Codes(dtype, scales=tuple(scales.tolist()), axis=axis, block=block)


def codes_hold(model: Model, invariant: Invariant) -> str | None:
    """None if the file can still store the layer's weight as was fixed, else what became of it."""
    layer = dict(model.module.named_modules()).get(invariant.layer)
    weight = None if layer is None else layer._parameters.get("weight")
    if weight is None:
        return "it is gone"
    codes = Codes.from_json(invariant.value)
    array = weight.detach().cpu().numpy()
    fits = not codes.scales or array.size % max(1, len(codes.scales)) == 0
    if array.dtype != np.float32 or not fits or codes.of(array) is None:
        return f"its weight is no longer one of {codes.dtype} codes"
    return None


def acts_on(model: Model, wanted: Wanted, kinds: Sequence[str]) -> Mapping[str, str | None]:
    """Layer -> None where the step can store it, on a target that has all of `kinds`; else why not."""
    if model.quantized:
        return {one.layer: "quantized already" for one in model.invariants if one.kind == "scale"}
    known = frozenset((wanted.dtype, kind, 0) for kind in kinds)
    limits = Limits(frozenset(), frozenset(), dynamic=known, stored=known)
    return {name: reason or None for name, reason in _reasons(model, layers(model), wanted, limits, "").items()}


def refuse_unknown(wanted: Wanted, limits: Limits, where: str) -> None:
    """Raises ParingError if the targets have no such weights at all, naming those that they have."""
    known = limits.dynamic if wanted.dynamic else limits.stored
    types = sorted({dtype for dtype, _, _ in known})
    how = "with activations quantized at run time" if wanted.dynamic else "with float activations"
    if wanted.dtype not in types:
        raise ParingError(
            f"the targets cannot execute {wanted.dtype} weights {how}",
            where,
            f"weights: one of {', '.join(types)}" if types else "another step: the targets have no such weights",
        )
    sizes = sorted({size for dtype, _, size in known if dtype == wanted.dtype})
    if wanted.block not in sizes:
        raise ParingError(
            f"the targets cannot execute {wanted.dtype} weights in groups of {wanted.block} {how}",
            where,
            f"block: one of {', '.join(map(str, sizes))}",
        )


def _reasons(model: Model, there: Sequence[Layer], wanted: Wanted, limits: Limits, where: str) -> dict[str, str]:
    """Layer -> why it is left as it is; empty where it is to be stored."""
    only = set(select(wanted.only or ("*",), there, f"{where}: only")) if there else set()
    kept = set(select(wanted.keep_float, there, f"{where}: keep_float"))
    stored = {one.layer: one.value["dtype"] for one in model.invariants if one.kind == "codes"}
    what = wanted.dtype + (f" in groups of {wanted.block}" if wanted.block else "")
    known = limits.dynamic if wanted.dynamic else limits.stored
    sizes = {layer.name: _inputs(model, layer) for layer in there if wanted.block and not layer.reason}
    entries = 2 ** int(wanted.dtype.removeprefix("palette")) if wanted.dtype.startswith("palette") else 0

    def reason(layer: Layer) -> str:
        found = layer.reason
        if layer.name in stored:
            found = f"stored in {stored[layer.name]} already"
        elif layer.name in kept:
            found = "kept in float, as the recipe asks"
        elif layer.name not in only:
            found = "not among the layers that the recipe names"
        elif not found and (wanted.dtype, layer.kind, wanted.block) not in known:
            gain = (
                f"run {layer.kind} layers no faster than in float" if wanted.dynamic else f"hold no {layer.kind} layers"
            )
            found = f"in {what} the targets {gain}"
        elif not found and wanted.dynamic and layer.intensity < limits.intensity:
            found = "it computes too little for what it reads and writes to gain from quantizing its input at run time"
        elif not found and wanted.block and sizes[layer.name] % wanted.block:
            found = f"its {sizes[layer.name]} inputs are no multiple of {wanted.block}"
        elif not found and entries and (held := _weight(model, layer).numel()) <= entries:
            found = f"it has {held} weights, and its table would have {entries}"
        return found

    return {layer.name: reason(layer) for layer in there}


def _lost_in_half(weight: Tensor) -> str:
    """Why float16 cannot hold a weight; empty where it can."""
    if bool((weight.abs() > _LARGEST_HALF).any()):
        return f"its largest weight, {float(weight.abs().max()):.3g}, is beyond float16's {_LARGEST_HALF:g}"
    if bool((weight.half().float() - weight).norm() > _LOST_HALF * weight.norm()):
        return f"its weights, {float(weight.abs().max()):.1e} at most, are too small for float16"
    return ""


def _weight(model: Model, layer: Layer) -> Tensor:
    return model.module.get_submodule(layer.name).get_parameter("weight")


def _inputs(model: Model, layer: Layer) -> int:
    return int(_weight(model, layer).shape[-1])


def _told(chosen: Sequence[Layer], wanted: Wanted, limits: Limits) -> str:
    groups = f" in groups of {wanted.block}" if wanted.block else ""
    how = "activations at run time" if wanted.dynamic else "activations in float"
    slow = sorted({one.kind for one in chosen if (wanted.dtype, one.kind, "float32") in limits.slow})
    warned = f"; slower than float, as {' and '.join(slow)} weights are unpacked at each inference" if slow else ""
    return f"{len(chosen)} layers to {wanted.dtype}{groups}, {how}" + ("" if wanted.dynamic else warned)
