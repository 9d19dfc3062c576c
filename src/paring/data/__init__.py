"""Data: where a task comes from. Nothing heavy is imported until a data set is opened."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

from pydantic import ValidationError, validate_call

from paring.core.entry import parse
from paring.core.errors import ParingError, UnknownName
from paring.core.registry import Registry

if TYPE_CHECKING:
    from paring.core.task import Task, Tokenization

DATASETS = Registry(
    "data set",
    {
        "fashion-mnist": "paring.data.fashion_mnist:open_fashion_mnist",
        "datasets": "paring.data.hub:open_dataset",
        "digits": "paring.data.digits:open_digits",
        "idx": "paring.data.idx:open_idx",
        "images": "paring.data.folder:open_folder",
        "npz": "paring.data.npz:open_npz",
        "python": "paring.data.custom:open_custom",
        "reviews": "paring.data.reviews:open_reviews",
        "table": "paring.data.table:open_table",
    },
    extras={"datasets": "datasets", "digits": "digits", "images": "images", "reviews": "tables", "table": "tables"},
)
"""What stands before the colon, or alone. Each is a function of the name, of what follows the colon (where it takes a
`target`) and of options, which are the keyword arguments that a recipe may give."""


def open(name: str, *, seed: int = 0, tokenization: Tokenization | None = None) -> Task:
    """The task that a recipe calls by `name`.

    Args:
        name: `fashion-mnist`, `digits`, `reviews`, `idx:FOLDER`, `images:FOLDER`, `npz:FILE`, `table:FILE`,
            `datasets:NAME` or
            `python:package.module:attribute`, with options in parentheses: `images:photos(size=96)`.
        tokenization: how the model wants its texts, where these are texts.
        seed: handed to a `python:` factory that takes one. Splits never depend on it.

    Raises:
        ParingError: there is no such data set, or something is wrong with its files.
    """
    entry = parse(name)
    kind = entry.scheme or entry.rest
    opener = DATASETS.load(kind)
    parameters = inspect.signature(opener).parameters
    if "target" in parameters and not entry.scheme:
        raise ParingError("does not say where", name, f"write {kind}:… with the path or the name behind the colon")
    if "target" not in parameters and entry.scheme:
        raise ParingError(f"{kind} takes nothing behind a colon", name, f"write {kind!r}")
    task: Task
    if "arguments" in parameters:  # the user's own, with options that only it knows
        task = opener(name, target=entry.rest, arguments=entry.arguments, seed=seed)
        return task
    options = set(parameters) - {"name", "target", "tokenization"}
    for option in entry.arguments:
        if option not in options:
            raise UnknownName.of("option", option, options, name)
    target = {"target": entry.rest} if "target" in parameters else {}
    brought = {"tokenization": tokenization} if "tokenization" in parameters else {}
    try:
        task = validate_call(config={"strict": True})(opener)(name, **target, **brought, **entry.arguments)
    except ValidationError as error:
        fault = error.errors()[0]
        option = str(fault["loc"][0])
        problem = f"{option}={entry.arguments.get(option, fault['input'])!r}: {fault['msg']}"  # all that was written
        raise ParingError(problem, name, "give the option such a value, or leave it out") from None
    return task
