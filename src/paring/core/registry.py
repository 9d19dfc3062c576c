"""A registry is a small table of names; nothing is imported until a name is asked for."""

import importlib
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from paring.core.errors import MissingExtra, UnknownName


class Registry:
    """Names of one kind of thing, each with the `module:attribute` that holds it.

    Args:
        kind: what the names stand for, in the singular: "step".
        entries: name -> "module:attribute".
        extras: name -> the extra that installs what the module imports.
    """

    def __init__(self, kind: str, entries: Mapping[str, str], extras: Mapping[str, str] | None = None) -> None:
        self.kind, self._entries, self._extras = kind, dict(entries), dict(extras or {})

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def names(self) -> tuple[str, ...]:
        """Every name, sorted."""
        return tuple(sorted(self._entries))

    def extra_of(self, name: str) -> str:
        """The extra that installs what the thing called `name` imports; empty for none."""
        return self._extras.get(name, "")

    def load(self, name: str) -> Any:
        """The thing called `name`.

        Raises:
            UnknownName: no entry has that name; the message gives the nearest.
            MissingExtra: its module imports a package that is not installed.
        """
        if name not in self._entries:
            raise UnknownName.of(self.kind, name, self._entries)
        module, _, attribute = self._entries[name].partition(":")
        try:
            found = importlib.import_module(module)
        except ModuleNotFoundError as error:
            raise self.missing(name, error) from error
        return getattr(found, attribute)

    def missing(self, name: str, error: ModuleNotFoundError) -> MissingExtra:
        """The error for a package that the thing called `name` lacks, when it is loaded or later.

        Raises:
            ModuleNotFoundError: `error` itself, where a module of ours is missing: a fault that no extra mends.
        """
        package = (error.name or "").partition(".")[0]
        if package == "paring":
            raise error
        return MissingExtra.of(package, self._extras.get(name, "all"), f"{self.kind} {name}")


def with_options(value: Any, options: str) -> Any:
    """`[a, {b: {x: 1}}]`, as people write names with options, in full: `[{name: a}, {name: b, options: {x: 1}}]`.

    Args:
        value: what was written; what is no list is left to the validation that follows.
        options: key of the options.

    Raises:
        ValueError: an item is neither a name nor one name with its options.
    """
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list | tuple):
        return value
    found: list[Any] = []
    for item in value:
        if isinstance(item, str):
            found.append({"name": item})
        elif isinstance(item, Mapping) and len(item) == 1:
            name, given = next(iter(item.items()))
            found.append({"name": name, options: given or {}})
        elif isinstance(item, BaseModel):
            found.append(item.model_dump())
        else:
            raise ValueError("each is a name, or one name with its options: {name: {option: value}}")
    return found
