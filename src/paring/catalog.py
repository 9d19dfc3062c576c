"""What steps there are: what each does, its options, and the rules of order."""

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from paring.core.errors import MissingExtra, UnknownName
from paring.core.model import Json
from paring.core.step import Phase
from paring.recipes import order
from paring.steps import STEPS


@dataclass(frozen=True, slots=True)
class Option:
    """One option of a step.

    Attributes:
        name: its key; of an option inside another with both, `recover.epochs`.
        kind: what it takes.
        default: what counts where it is left out; empty where it has to be given.
        told: what it means, with its unit.
    """

    name: str
    kind: str
    default: str
    told: str


@dataclass(frozen=True, slots=True)
class Described:
    """One step.

    Attributes:
        name: as in a recipe.
        phase: its place in the order; empty where a package is missing.
        told: one line on what it does.
        options: as its configuration has them.
        extra: of paring, that installs what it imports.
        missing: how to install what could not be imported; empty where all is there.
    """

    name: str
    phase: str = ""
    told: str = ""
    options: tuple[Option, ...] = field(default=())
    extra: str = ""
    missing: str = ""

    def as_json(self) -> dict[str, Json]:
        """Plain data."""
        return asdict(self)


def described(name: str) -> Described:
    """The step called `name`.

    Raises:
        UnknownName: no step has that name.
    """
    if name not in STEPS:
        raise UnknownName.of("step", name, STEPS.names())
    try:
        step = STEPS.load(name)
    except MissingExtra as error:
        return Described(name, extra=STEPS.extra_of(name), missing=error.remedy)
    module = inspect.getdoc(inspect.getmodule(step)) or ""
    return Described(name, step.phase.name.lower(), _first(module), tuple(_options(step.Config)), STEPS.extra_of(name))


def rules(step: Described | None) -> tuple[str, ...]:
    """The rules of order: all of them, or those that speak of a step."""
    if step is None or step.missing:
        return tuple(map(str, order.RULES))
    placed = order.Placed(step.name, Phase[step.phase.upper()])
    return tuple(str(rule) for rule in order.RULES if order.concerns(rule, placed))


def _first(text: str) -> str:
    """The first paragraph, on one line."""
    return " ".join(text.partition("\n\n")[0].split())


def _options(config: type[BaseModel], before: str = "", given: BaseModel | None = None) -> Iterator[Option]:
    """The options of a step, and one level down those that have options of their own.

    Args:
        config: of the step.
        before: what the names begin with.
        given: the default of what holds these options: its values are theirs.
    """
    told = _attributes(config)
    for name, one in config.model_fields.items():
        default = _default(one) if given is None else getattr(given, name)
        text = " ".join((one.description or told.get(name, "")).split())
        yield Option(before + name, _kind(one.annotation), _shown(default), text)
        inner = next((kind for kind in _either(one.annotation) if issubclass(kind, BaseModel)), None)
        if inner is not None and not before:
            yield from _options(inner, f"{name}.", default if isinstance(default, BaseModel) else None)


def _attributes(config: type) -> dict[str, str]:
    """What the docstrings of a class and of those that it builds on say of each attribute."""
    found: dict[str, str] = {}
    for one in reversed(config.__mro__):
        name = ""
        lines = inspect.cleandoc(one.__dict__.get("__doc__") or "").partition("Attributes:\n")[2].splitlines()
        for line in lines:
            head, colon, rest = line.strip().partition(": ")
            if line.startswith("    ") and not line.startswith("     ") and colon and head.isidentifier():
                name, line = head, rest  # noqa: PLW2901 - the rest of the line is text
                found[name] = ""
            if name and line.strip():
                found[name] = f"{found[name]} {line.strip()}".strip()
    return found


def _either(annotation: Any) -> Iterator[type]:
    """The classes that a value may be of, itself."""
    if isinstance(annotation, type) and not get_args(annotation):
        yield annotation
    elif get_origin(annotation) in {Union, UnionType, Annotated}:
        for inner in get_args(annotation):
            yield from _either(inner)


def _kind(annotation: Any) -> str:
    """The type as a reader writes it: `int or null`, `l1, l2 or taylor`."""
    if not get_args(annotation):
        names: Mapping[Any, str] = {type(None): "null", Any: "anything"}
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            return "options"
        return names.get(annotation) or str(getattr(annotation, "__name__", annotation))
    origin = getattr(annotation, "__origin__", None)
    if origin is not None and hasattr(annotation, "__metadata__"):
        return _kind(origin)
    inside = [one if isinstance(one, str) else _kind(one) for one in get_args(annotation) if one is not Ellipsis]
    if origin is tuple:
        return f"list of {' or '.join(dict.fromkeys(inside))}"
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return f"{inside[0]}: {inside[1]}"
    return " or ".join(dict.fromkeys(inside))


def _default(one: FieldInfo) -> Any:
    return PydanticUndefined if one.is_required() else one.get_default(call_default_factory=True)


def _shown(value: Any) -> str:
    """A default as YAML has it; empty for none."""
    if value is PydanticUndefined:
        return ""
    if isinstance(value, BaseModel):
        return "see below"
    if isinstance(value, bool | None):
        return {None: "null", True: "true", False: "false"}[value]
    return "[]" if value == () else "{}" if value == {} else str(value)
