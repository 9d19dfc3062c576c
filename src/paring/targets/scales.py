"""Whether a file holds the scales that a model promised."""

from collections.abc import Iterable

from paring.core.errors import ParingError
from paring.core.model import Model


def require(model: Model, stored: Iterable[tuple[float, ...]], where: str) -> None:
    """Every scale that a step fixed is among those of the file's int8 tensors.

    Raises:
        ParingError: a layer came out without its scales, or with others.
    """
    found = {rounded(scales) for scales in stored}
    lost = [
        invariant.layer
        for invariant in model.invariants
        if invariant.kind == "scale" and rounded(tuple(invariant.value)) not in found
    ]
    if lost:
        raise ParingError(
            f"{len(lost)} quantized layers came out without their scales ({', '.join(lost[:3])}, …)",
            where,
            "keep these layers in float (keep_float), and report the model that shows it",
        )


def rounded(scales: Iterable[float]) -> tuple[float, ...]:
    """Scales to six digits: what a file may round."""
    return tuple(float(f"{scale:.5e}") for scale in scales)
