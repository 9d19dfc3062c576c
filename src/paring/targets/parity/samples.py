"""What a file and its graph are both asked: some samples as the network meets them, and extremes."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from paring.core.model import Model, TensorSpec
from paring.core.target import Array

_MOST = 4  # samples of the usual kind
_VALUES = 2**19  # of all inputs of these samples together; fewer samples where one is large
_UNKNOWN = (-4.0, 4.0)  # of an input of floats without a known range, where a normal distribution nearly ends


@dataclass(frozen=True)
class Samples:
    """Inputs by name, batch first.

    Attributes:
        usual: as the network meets them.
        extremes: zeros, and both ends of the range.
        generated: whether `usual` was drawn here, for want of real samples.
    """

    usual: Mapping[str, Array]
    extremes: Mapping[str, Array]
    generated: bool


def of(model: Model, given: Mapping[str, Array] | None) -> Samples:
    """Samples for a model: of those given as many as are cheap; drawn ones if none are given, or none that fit."""
    values = sum(int(np.prod(spec.sized(1))) for spec in model.inputs)
    count = int(np.clip(_VALUES // max(values, 1), 1, _MOST))
    chance = np.random.default_rng(0)
    real = given is not None and all(spec.name in given and _fits(spec, given[spec.name]) for spec in model.inputs)
    ranges = {spec.name: _range(model, i, spec) for i, spec in enumerate(model.inputs)}
    usual, extremes = {}, {}
    for spec in model.inputs:
        if real and given is not None:
            usual[spec.name] = given[spec.name][:count].astype(spec.dtype, copy=False)
        else:
            usual[spec.name] = _drawn(spec, ranges[spec.name], count, chance)
        low, high = ranges[spec.name] or _ends(usual[spec.name])
        shape = spec.sized(1)[1:]
        ends = [np.full(shape, one) for one in dict.fromkeys((min(max(0.0, low), high), low, high))]
        extremes[spec.name] = np.stack(ends).astype(spec.dtype)
    most = max(len(one) for one in extremes.values())
    padded = {name: one[[min(i, len(one) - 1) for i in range(most)]] for name, one in extremes.items()}
    return Samples(usual, padded, not real)


def _fits(spec: TensorSpec, array: Array) -> bool:
    return len(array) > 0 and array.shape[1:] == spec.sized(1)[1:]


def _range(model: Model, place: int, spec: TensorSpec) -> tuple[float, float] | None:
    """From which to which value an input goes: what its integers can stand for, or what is known of it."""
    if spec.dtype == "bool":
        return 0.0, 1.0
    if not spec.dtype.startswith("float"):
        return spec.range or (0.0, 1.0)
    known = spec.range
    if model.quantized:
        from paring.targets.parity.reference import input_range

        held = input_range(model.module, place)
        if held and known:
            return max(held[0], known[0]), min(held[1], known[1])
        known = held or known
    return known


def _ends(array: Array) -> tuple[float, float]:
    low, high = float(array.min(initial=np.inf)), float(array.max(initial=-np.inf))
    return (min(low, _UNKNOWN[0]), max(high, _UNKNOWN[1])) if low <= high else _UNKNOWN


def _drawn(spec: TensorSpec, known: tuple[float, float] | None, count: int, chance: np.random.Generator) -> Array:
    shape = (count, *spec.sized(1)[1:])
    if not spec.dtype.startswith("float"):
        low, high = known or (0.0, 1.0)
        return chance.integers(int(low), int(high) + 1, shape).astype(spec.dtype)
    noise: Array = chance.normal(size=shape)
    if known is not None:  # most of a normal distribution inside the range, as calibration saw it
        low, high = known
        noise = np.clip((low + high) / 2 + noise * (high - low) / 6, low, high)
    return noise.astype(spec.dtype)
