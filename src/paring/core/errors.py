"""Errors a user can act on.

ParingError
├── UnknownName     a name that no table holds
├── MissingExtra    an optional package is not installed
└── Busy            another process works in the same run directory
"""

from collections.abc import Iterable
from difflib import get_close_matches


class ParingError(Exception):
    """What went wrong, where, and the next thing to try. The command line exits with 2."""

    def __init__(self, problem: str, where: str, remedy: str) -> None:
        super().__init__(problem, where, remedy)  # kept in args, so that it survives pickling by worker processes
        self.problem, self.where, self.remedy = problem, where, remedy

    def __str__(self) -> str:
        return f"{self.where}: {self.problem}\n  try: {self.remedy}"


class UnknownName(ParingError, LookupError):
    """A name that no table holds; the remedy gives the nearest one."""

    @classmethod
    def of(cls, kind: str, name: str, known: Iterable[str], where: str | None = None) -> "UnknownName":
        """The error for `name`, which is none of `known`; `where` defaults to the table's kind."""
        choices = sorted(known)
        near = get_close_matches(name, choices, n=1)
        remedy = f"did you mean {near[0]!r}?" if near else f"one of: {', '.join(choices)}"
        return cls(f"no {kind} is called {name!r}", where or f"{kind}s", remedy)


class MissingExtra(ParingError, ImportError):
    """An optional package is not installed; the remedy names the extra that brings it."""

    @classmethod
    def of(cls, package: str, extra: str, where: str) -> "MissingExtra":
        """The error for `package`, which `pip install 'paring[extra]'` installs."""
        return cls(f"needs the package {package!r}", where, f"pip install 'paring[{extra}]'")


class Busy(ParingError):
    """Another process works in the same run directory."""
