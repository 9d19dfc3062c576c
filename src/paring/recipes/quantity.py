"""Budgets in the user's units."""

from dataclasses import dataclass
from math import isfinite

from paring.core.errors import ParingError
from paring.core.units import UNITS, amount

KINDS = {"accuracy_drop": "points", "latency": "time", "size": "bytes", "peak_memory": "bytes"}


@dataclass(frozen=True, slots=True)
class Budget:
    """The most that may be spent of one thing.

    Attributes:
        name: `accuracy_drop`, `latency`, `size` or `peak_memory`.
        limit: in `unit`.
        unit: `pt` (percentage points), `ms` or `bytes`.
    """

    name: str
    limit: float
    unit: str


def budget(name: str, text: str, where: str) -> Budget:
    """`budget("latency", "2 ms", …)`; raises ParingError for another unit, or a limit that nothing can meet."""
    found = amount(str(text), KINDS[name])
    if found is None:
        units = UNITS[KINDS[name]]
        raise ParingError(
            f"{name} wants a number and one of the units {', '.join(units)}, got {text!r}",
            where,
            f"e.g. {name}: 1.0 {next(iter(units))}",
        )
    limit, unit = found
    if not isfinite(limit) or limit < 0 or (limit == 0 and name != "accuracy_drop"):
        raise ParingError(f"{name}: nothing can keep to {text!r}", where, "give a limit above zero")
    return Budget(name, limit, unit)
