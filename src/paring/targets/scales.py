"""Whether a file holds the scales that a model promised."""

from collections.abc import Iterable

import numpy as np

from paring.core.errors import ParingError
from paring.core.model import Json, Model


def require(
    model: Model, stored: Iterable[tuple[float, ...]], where: str, *, kind: str = "float32", codes: bool = False
) -> None:
    """Every scale that a step fixed is among those of the file's int8 tensors.

    Args:
        model: that was exported.
        stored: scales of the file, a tensor's each.
        where: for the error.
        kind: numpy's name of the type in which the file holds them.
        codes: whether those of weights that are stored as codes are asked for, too.

    Raises:
        ParingError: a layer came out without its scales, or with others.
    """
    found = {held(scales, kind) for scales in stored}
    promised: list[tuple[str, Json]] = [(one.layer, one.value) for one in model.invariants if one.kind == "scale"]
    if codes:
        every = [(one.layer, one.value["scales"]) for one in model.invariants if one.kind == "codes"]
        promised += [(layer, values) for layer, values in every if values]
    lost = [layer for layer, values in promised if held(values, kind) not in found]
    if lost:
        raise ParingError(
            f"{len(lost)} quantized layers came out without their scales ({', '.join(lost[:3])}, …)",
            where,
            "keep these layers in float (keep_float), and report the model that shows it",
        )


def held(scales: Iterable[float], kind: str) -> tuple[float, ...]:
    """Scales as a file holds them in `kind`, to six digits; none of them 0."""
    values = np.array(tuple(scales)).astype(kind)
    return rounded(np.maximum(values, np.finfo(kind).smallest_subnormal).astype(float).tolist())


def rounded(scales: Iterable[float]) -> tuple[float, ...]:
    """Scales to six digits: what a file may round."""
    return tuple(float(f"{scale:.5e}") for scale in scales)
