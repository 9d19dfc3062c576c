"""Reading and writing recipes; what is wrong in one is told with its line and the nearest key."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from paring.core import atomic
from paring.core.errors import ParingError, UnknownName
from paring.core.model import Json
from paring.recipes import library
from paring.recipes.recipe import Lines, Recipe

Path_ = tuple[str | int, ...]
M = TypeVar("M", bound=BaseModel)


def read(source: Recipe | Mapping[str, Json] | str | Path, **given: Json) -> tuple[Recipe, Lines]:
    """A recipe from a YAML file, the library, a dictionary, or as it is; with the lines of its parts.

    Args:
        source: a path, a name of the library, the recipe as data, or a recipe.
        given: keys whose values count instead of the recipe's, where they are not None. Another `model` does not take
            the recipe's weights.

    Raises:
        ParingError: no such file, not YAML, an unknown or repeated key, a value of the wrong kind.
    """
    given = {name: value for name, value in given.items() if value is not None}
    if "model" in given:
        given.setdefault("weights", None)
    if isinstance(source, Recipe):
        return (validated(Recipe, {**source.as_json(), **given}, Lines()) if given else source), Lines()
    data, lines = (dict(source), Lines()) if isinstance(source, Mapping) else _load(source)
    return validated(Recipe, {**data, **given} if isinstance(data, dict) else data, lines), lines


def _load(source: str | Path) -> tuple[Any, Lines]:
    """What a file says, or a recipe of the library of that name."""
    path = Path(source)
    if str(source) in library.names() and not path.exists():
        data, numbers = parse(library.text(str(source)), str(source))
        return data, Lines(str(source), numbers)
    hint = f"name a recipe file, e.g. recipe.yaml, or a recipe that is there: {', '.join(library.names())}"
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ParingError(f"cannot be read: {error.strerror}", str(path), hint) from error
    except UnicodeDecodeError as error:
        raise ParingError("is not a text file", str(path), hint) from error
    data, numbers = parse(text, str(path))
    return data, Lines(str(path), numbers)


def write(recipe: Recipe, path: Path) -> None:
    """Writes the recipe as YAML, defaults included."""
    with atomic.write(path) as temporary:
        temporary.write_text(yaml.safe_dump(recipe.as_json(), sort_keys=False, allow_unicode=True), encoding="utf-8")


def validated(kind: type[M], data: Any, lines: Lines, at: Path_ = (), page: str = "the recipe's page") -> M:
    """`data` as a `kind`; the first problem becomes a ParingError with its line, and the nearest key if one is unknown.

    Args:
        kind: what to make.
        data: what the user wrote.
        lines: where it stands.
        at: path to `data` in the recipe.
        page: of the documentation, which tells what is right.
    """
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        # a misspelt key leaves another one missing: the misspelling is what the user wants to hear of
        first = min(error.errors(include_url=False), key=lambda found: found["type"] != "extra_forbidden")
        path = at + _as_written(tuple(first["loc"]))
        where = lines.of(path)
        name = ".".join(str(part) for part in path) or lines.name
        if first["type"] == "extra_forbidden":
            raise UnknownName.of("key", str(path[-1]), _fields(kind, tuple(first["loc"])[:-1]), where=where) from error
        message = first["msg"].removeprefix("Value error, ")
        got = "" if first["type"] == "missing" else f", got {_short(first['input'])}"
        remedy = f"see {page} in the documentation"
        if kind is Recipe and not got and path[0] in {"model", "data"}:  # as recipes of the library leave them to you
            remedy = f"give --{path[0]}, or add {path[0]}: … to the recipe"
        raise ParingError(f"{name}: {message}{got}", where, remedy) from error


def _as_written(loc: Path_) -> Path_:
    """The path as it stands in the file, where a step's options lie under its name."""
    if len(loc) > 2 and loc[0] in {"steps", "targets"} and loc[2] in {"config", "options"}:
        return (*loc[:2], *loc[3:])
    return loc


def _fields(kind: type[BaseModel], loc: Path_) -> list[str]:
    """Keys that are known where an unknown one was found."""
    for part in loc:
        field = kind.model_fields.get(str(part))
        if field is None:
            continue
        inner = [t for t in (field.annotation, *getattr(field.annotation, "__args__", ())) if isinstance(t, type)]
        kind = next((t for t in inner if issubclass(t, BaseModel)), kind)
    return list(kind.model_fields)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"


def parse(
    text: str, name: str, what: str = "a recipe", begin: str = "begin with version: 1, model: … and data: …"
) -> tuple[Any, dict[Path_, int]]:
    """What a YAML file says, and on which line each part of it stands.

    Args:
        text: of the file.
        name: of the file.
        what: it should be, and `begin`: how that begins, for the message where it is not.
        begin: see `what`.

    Raises:
        ParingError: it is not YAML, no mapping of keys, or a key stands twice.
    """
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{name}, line {mark.line + 1}" if mark else name
        problem = getattr(error, "problem", None) or str(error)
        raise ParingError(f"is not YAML: {problem}", where, "mind indentation and colons") from error
    numbers: dict[Path_, int] = {}
    if root is None or not isinstance(root, yaml.MappingNode):
        raise ParingError(f"is not {what}", name, begin)
    _lines(root, (), numbers, name)
    try:
        return yaml.safe_load(text), numbers
    except yaml.YAMLError as error:
        raise ParingError(f"is not YAML: {error}", name, "mind tags and anchors") from error


def _lines(node: yaml.Node, at: Path_, numbers: dict[Path_, int], name: str) -> None:
    numbers.setdefault(at, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.tag == "tag:yaml.org,2002:merge":  # `<<: *other`: what it brings may be given anew beside it
                continue
            path = (*at, str(key.value))
            # under steps and targets an item is {name: options}: the name is no part of the path
            flat = len(at) == 2 and at[0] in {"steps", "targets"}
            if path in numbers:
                raise ParingError(
                    f"the key {key.value!r} stands twice", f"{name}, line {key.start_mark.line + 1}", "keep one of them"
                )
            numbers[path] = key.start_mark.line + 1
            _lines(value, at if flat else path, numbers, name)
    elif isinstance(node, yaml.SequenceNode):
        for position, item in enumerate(node.value):
            _lines(item, (*at, position), numbers, name)
