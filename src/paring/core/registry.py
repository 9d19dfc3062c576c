"""A registry is a small table of names; nothing is imported until a name is asked for."""

import importlib
from collections.abc import Mapping
from typing import Any

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
            missing = error.name or ""
            if missing.partition(".")[0] == "paring":
                raise  # a fault of ours, never to be hidden behind "please install"
            raise MissingExtra.of(missing, self._extras.get(name, "all"), f"{self.kind} {name}") from error
        return getattr(found, attribute)
