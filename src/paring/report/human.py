"""Numbers and names as people read them."""

from collections.abc import Mapping
from datetime import datetime
from math import floor, log10

_BINARY = (("GiB", 2.0**30), ("MiB", 2.0**20), ("KiB", 2.0**10))
_DECIMAL = (("G", 1e9), ("M", 1e6), ("k", 1e3))
_INVARIANTS = {"codes": "stored weight", "sparsity": "sparsity mask"}  # else the kind itself


def size(value: float) -> str:
    """Bytes: `812 B`, `612 KiB`, `3.42 MiB`."""
    return quantity(value, "bytes")


def count(value: float) -> str:
    """A count: `42`, `590 k`, `5.3 M`."""
    # 0.9995: what would be rounded to 1000 k is 1.0 M
    scale, prefix = next(((scale, prefix) for prefix, scale in _DECIMAL if abs(value) >= 0.9995 * scale), (1.0, ""))
    if not prefix:
        return _rounded(value, 0 if value == int(value) else 3)
    return f"{value / scale:.{1 if abs(value) < 99.95 * scale else 0}f} {prefix}"


def duration(seconds: float) -> str:
    """A stretch of time: `0.8 s`, `2 min 14 s`, `1 h 05 min`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"


def moment(iso: str) -> str:
    """A point in time: `24 November 2026, 14:03 UTC`; what is no ISO 8601 stays as it is."""
    try:
        when = datetime.fromisoformat(iso)
    except ValueError:
        return iso
    return f"{when.day} {when:%B %Y, %H:%M %Z}".rstrip()


def quantity(value: float, unit: str, spread: float | None = None) -> str:
    """A value with its spread, if there is one, and its unit: `91.25 ± 0.42 %`."""
    text, margin, unit = parts(value, unit, spread)
    return " ".join(part for part in (text, margin and f"± {margin}", unit) if part)


def budget(value: float, unit: str) -> str:
    """Like `quantity`, without zeros at the end, as a budget is written: `2 ms`, `0.75 pt`."""
    text, _, unit = parts(value, unit)
    return f"{text.rstrip('0').rstrip('.') if '.' in text else text} {unit}".rstrip()


def parts(value: float, unit: str, spread: float | None = None) -> tuple[str, str, str]:
    """Value, spread (empty if there is none) and unit (empty for `1`), as text.

    The spread has two significant digits and the value as many decimals; without a spread the value has three
    significant digits, and never fewer digits than its whole part. Bytes and large counts are scaled.
    """
    if unit == "1":
        unit = ""
        if spread is None and abs(value) >= 1000:
            return count(value), "", ""
    if unit == "bytes":
        scale, unit = next(((scale, name) for name, scale in _BINARY if abs(value) >= scale), (1.0, "B"))
        value, spread = value / scale, None if spread is None else spread / scale
    if not spread:  # a spread of exactly 0 says nothing on how many digits matter
        return _rounded(value, 4 if unit == "%" else 3), "" if spread is None else "0", unit
    decimals = min(max(0, 1 - floor(log10(abs(spread)))), 2 if unit == "%" else 6)
    return f"{value:.{decimals}f}", f"{spread:.{decimals}f}", unit


def invariants(held: Mapping[str, int]) -> str:
    """What was looked at and holds: `12 shapes, 3 sparsity masks`."""
    names = {kind: _INVARIANTS.get(kind, kind.replace("_", " ")) for kind in held}
    return ", ".join(f"{number} {names[kind]}{'s'[: number != 1]}" for kind, number in held.items())


def printable(text: str) -> str:
    """The text with control characters replaced, so that no name can steer a terminal."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)


def _rounded(value: float, digits: int) -> str:
    """`value` with so many significant digits, no exponent, and all digits of its whole part."""
    if not value:
        return "0"
    return f"{value:.{min(max(0, digits - 1 - floor(log10(abs(value)))), 9)}f}"
