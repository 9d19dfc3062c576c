"""Layers by name or by kind: how every step lets its user choose."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from paring.core.errors import UnknownName


@dataclass(frozen=True)
class Choosable:
    """A layer that can be chosen.

    Attributes:
        name: e.g. `blocks.3.body.0`.
        kinds: e.g. {"conv", "depthwise", "first"}.
    """

    name: str
    kinds: frozenset[str] = field(default_factory=frozenset)


def select(patterns: Iterable[str], layers: Sequence[Choosable], where: str) -> tuple[str, ...]:
    """The layers that any of the patterns chooses, in their order.

    Args:
        patterns: each a shell pattern on names (`blocks.3.*`; the name of a module chooses all that is in it), or `@`
            and a kind (`@depthwise`, `@first`).
        layers: what there is to choose from.
        where: the option, for the error.

    Raises:
        UnknownName: a pattern chooses nothing; the message gives the nearest names.
    """
    found: set[str] = set()
    for pattern in patterns:
        chosen = {layer.name for layer in layers if _fits(pattern, layer)}
        if not chosen:
            kinds = {f"@{kind}" for layer in layers for kind in layer.kinds}
            names = {part for layer in layers for part in _with_parents(layer.name)}
            raise UnknownName.of("layer", pattern, sorted(kinds if pattern.startswith("@") else names), where=where)
        found |= chosen
    return tuple(layer.name for layer in layers if layer.name in found)


def _fits(pattern: str, layer: Choosable) -> bool:
    if pattern.startswith("@"):
        return pattern[1:] in layer.kinds
    return any(fnmatchcase(name, pattern) for name in _with_parents(layer.name))


def _with_parents(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts) + 1)]
