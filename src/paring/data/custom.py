"""The user's own task, named in plain sight: the only way that a recipe runs code of its user's."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from paring.core.errors import ParingError, UnknownName
from paring.core.model import Json, TensorSpec
from paring.core.task import SPLITS, Task

_PARTS = ("name", "identity", "inputs", "labels", "preprocessing", "size", "batches", "loss")
_METHODS = ("size", "batches", "loss")


def open_custom(name: str, *, target: str, arguments: Mapping[str, Json], seed: int) -> Task:
    """A task, or what makes one, from a module that can be imported; the working folder is searched, too.

    Args:
        name: as the user named it.
        target: `package.module:attribute`.
        arguments: of a factory.
        seed: given to a factory that has such a parameter and was not given one.
    """
    made = _load(name, target)
    if inspect.isclass(made) or _missing(made):
        made = _make(made, name, arguments, seed)
    elif arguments:
        raise ParingError("is a task already and takes no options", name, "leave them out, or name a factory")
    missing = _missing(made)
    if missing:
        problem = f"gave a {type(made).__name__} that is no task: it has no {', '.join(missing)}"
        raise ParingError(problem, name, "see paring.core.task.Task for what a task has")
    task = cast("Task", made)
    specs: object = task.inputs
    if not isinstance(specs, tuple) or not specs or not all(isinstance(spec, TensorSpec) for spec in specs):
        raise ParingError("its inputs are no tuple of TensorSpec", name, "see paring.core.model.TensorSpec")
    for split in SPLITS:
        if task.size(split) < 1:
            raise ParingError(f"the {split} split is empty", name, "give every split samples")
    return task


def _load(name: str, target: str) -> object:
    module_name, _, attribute = target.partition(":")
    if not module_name or not attribute.isidentifier():
        raise ParingError("does not name a task", name, "write python:package.module:attribute")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)  # as `python -m` does; it stays, for what the module imports later
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise  # the module was found, and what it imports was not: the traceback says more
        problem = f"there is no module {module_name!r} (searched from {here})"
        raise ParingError(problem, name, "run in the folder that holds it, or install its package") from error
    if not hasattr(module, attribute):
        raise UnknownName.of(f"attribute of {module_name}", attribute, vars(module), name)
    return getattr(module, attribute)


def _make(factory: object, name: str, arguments: Mapping[str, Json], seed: int) -> object:
    if not callable(factory):
        raise ParingError("is neither a task nor a factory of one", name, "name a function that returns a task")
    parameters = inspect.signature(factory).parameters
    given = {"seed": seed, **arguments} if "seed" in parameters else dict(arguments)
    try:
        inspect.signature(factory).bind(**given)
    except TypeError as error:
        problem = f"its factory takes ({', '.join(map(str, parameters.values()))}): {error}"
        raise ParingError(
            problem, name, "give its options in parentheses: python:module:factory(option=value)"
        ) from None
    return factory(**given)


def _missing(task: object) -> tuple[str, ...]:
    """What of a task's parts an object lacks; methods must be callable."""
    return tuple(
        part for part in _PARTS if not hasattr(task, part) or (part in _METHODS and not callable(getattr(task, part)))
    )
