"""Recipes that come with paring: steps and budgets, for any model and data that a user names."""

import re
from importlib.resources import files
from importlib.resources.abc import Traversable

from paring.core.errors import UnknownName

_ROW = re.compile(r"^\| \[(?P<name>[^]]+)\]\([^)]+\) \| (?P<line>[^|]+) \|", re.MULTILINE)


def names() -> tuple[str, ...]:
    """Every recipe, in the order of the README: from the one that changes least on."""
    return tuple(lines())


def lines() -> dict[str, str]:
    """Recipe -> its line in the README."""
    readme = (_folder() / "README.md").read_text(encoding="utf-8")
    return {row["name"]: row["line"].strip() for row in _ROW.finditer(readme)}


def text(name: str) -> str:
    """The YAML of a recipe.

    Raises:
        UnknownName: there is none of that name; the message gives the nearest.
    """
    if name not in names():
        raise UnknownName.of("recipe", name, names())
    return (_folder() / f"{name}.yaml").read_text(encoding="utf-8")


def _folder() -> Traversable:
    return files("paring.recipes.library")
