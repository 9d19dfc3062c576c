"""Amounts with their units, as people write them: `2 ms`, `400 KiB`, `1.0 pt`."""

import re
from math import isfinite

# kind -> unit -> (what is kept, factor)
UNITS: dict[str, dict[str, tuple[str, float]]] = {
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


def amount(text: str, kind: str) -> tuple[float, str] | None:
    """`2 ms` of the kind `time` as (2.0, "ms"); None where no number and unit of that kind stand there.

    A number that is none (`1.2.3`) comes back as NaN, and one that is too large as infinity.
    """
    match = re.fullmatch(r"\s*([-+]?[\d.]+(?:[eE][-+]?\d+)?)\s*([A-Za-zµ]+)\s*", text)
    if match is None or match[2] not in UNITS[kind]:
        return None
    unit, factor = UNITS[kind][match[2]]
    try:
        return float(match[1]) * factor, unit
    except ValueError:
        return float("nan"), unit


def size(text: object) -> int:
    """`4 GiB` as bytes.

    Raises:
        ValueError: it is no size above zero.
    """
    found = amount(text, "bytes") if isinstance(text, str) else None
    if found is None or not isfinite(found[0]) or found[0] < 1:
        raise ValueError(f"{text!r} is no size: write a number and one of the units {', '.join(UNITS['bytes'])}")
    return round(found[0])


def written(count: int) -> str:
    """Bytes for people, to three digits: `812 B`, `612 KiB`, `3.44 MiB`."""
    scale, unit = next(
        ((UNITS["bytes"][unit][1], unit) for unit in ("GiB", "MiB", "KiB") if count >= UNITS["bytes"][unit][1]),
        (1.0, "B"),
    )
    value = count / scale
    return f"{value:.{0 if value >= 100 or unit == 'B' else 1 if value >= 10 else 2}f} {unit}"
