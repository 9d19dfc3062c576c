"""Budgets in the user's units."""

import re
from dataclasses import dataclass
from math import isfinite

from paring.core.errors import ParingError

# unit -> (what is recorded, factor)
_UNITS: dict[str, dict[str, tuple[str, float]]] = {
    "points": {"pt": ("pt", 1.0)},
    "time": {"ms": ("ms", 1.0), "us": ("ms", 1e-3), "µs": ("ms", 1e-3), "s": ("ms", 1e3)},
    "bytes": {
        "B": ("bytes", 1.0),
        "kB": ("bytes", 1e3),
        "KB": ("bytes", 1e3),
        "MB": ("bytes", 1e6),
        "GB": ("bytes", 1e9),
        "KiB": ("bytes", 2.0**10),
        "MiB": ("bytes", 2.0**20),
        "GiB": ("bytes", 2.0**30),
    },
}
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
    units = _UNITS[KINDS[name]]
    match = re.fullmatch(r"\s*([-+]?[\d.]+(?:[eE][-+]?\d+)?)\s*([A-Za-zµ]+)\s*", str(text))
    if match is None or match[2] not in units:
        raise ParingError(
            f"{name} wants a number and one of the units {', '.join(units)}, got {text!r}",
            where,
            f"e.g. {name}: 1.0 {next(iter(units))}",
        )
    unit, factor = units[match[2]]
    try:
        limit = float(match[1]) * factor
    except ValueError:
        limit = float("nan")
    if not isfinite(limit) or limit < 0 or (limit == 0 and name != "accuracy_drop"):
        raise ParingError(f"{name}: nothing can keep to {text!r}", where, "give a limit above zero")
    return Budget(name, limit, unit)
