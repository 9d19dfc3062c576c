"""Anyone's own PyTorch model: `torch:package.module:factory(option=value)`."""

import importlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from paring.core.entry import Entry, parse
from paring.core.errors import ParingError, UnknownName
from paring.core.model import Json, Model, Source, TensorSpec
from paring.core.task import Task
from paring.load import probe


def open(
    entry: Entry,
    *,
    task: Task | None = None,
    shape: tuple[int, ...] | tuple[TensorSpec, ...] | None = None,
    seed: int = 0,
) -> Model:
    """The module that the factory makes; its inputs are the task's, or one of `shape`, or several named ones."""
    source = Source(f"torch:{entry.rest}", entry.arguments)
    inputs = inputs_of(task, shape, str(source))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = build(entry.rest, entry.arguments)
    return probe.model(module, source, inputs)


def rebuild(source: Source) -> nn.Module:
    """The module of a saved model."""
    return build(parse(source.entry).rest, source.arguments)


def build(name: str, arguments: Mapping[str, Json]) -> nn.Module:
    """Calls `package.module:factory`, or `package.module:Class.method`. The working directory may hold the package.

    Raises:
        ParingError: there is no such module or factory, or it fails.
    """
    where = f"torch:{name}"
    module_name, _, factory_name = name.partition(":")
    if module_name.endswith(".pt2") or name.endswith(".pt2"):
        raise ParingError("is an exported program", where, f"write pt2:{name}")
    if not factory_name:
        raise ParingError("names no factory", where, "write torch:package.module:factory")
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise ParingError(
            f"there is no module {error.name!r}", where, "run where the package lies, or install it"
        ) from error
    except Exception as error:  # the user's module can fail in any way
        raise ParingError(
            f"importing {module_name} fails: {type(error).__name__}: {error}", where, "mend the module"
        ) from error
    finally:
        sys.path.remove(here)
    factory: Any = module
    for part in factory_name.split("."):
        known = [key for key in dir(factory) if callable(getattr(factory, key, None)) and not key.startswith("_")]
        factory = getattr(factory, part, None)
        if factory is None:
            raise UnknownName.of("factory", part, known, where=where)
    try:
        made = factory(**arguments)
    except ParingError:
        raise
    except Exception as error:  # likewise
        raise ParingError(
            f"{factory_name}({', '.join(arguments)}) fails: {type(error).__name__}: {error}",
            where,
            "give its arguments in parentheses: torch:package.module:factory(width=0.5)",
        ) from error
    if not isinstance(made, nn.Module):
        raise ParingError(f"{factory_name} gives {type(made).__name__}", where, "return a torch.nn.Module")
    return made


def inputs_of(
    task: Task | None, shape: tuple[int, ...] | tuple[TensorSpec, ...] | None, where: str
) -> tuple[TensorSpec, ...]:
    """The task's inputs; without a task those that `shape` describes, or one tensor of that shape."""
    if task is not None:
        return task.inputs
    named = tuple(spec for spec in shape or () if isinstance(spec, TensorSpec))
    return named or image(tuple(size for size in shape or () if isinstance(size, int)) or None, where)


def image(shape: tuple[int, ...] | None, where: str) -> tuple[TensorSpec, ...]:
    """The inputs of a model that takes one image (channels, height, width), or one tensor of another rank."""
    if shape is None:
        raise ParingError("the shape of its input is not known", where, "give --shape 3,224,224, or the data")
    is_image = len(shape) == 3
    return (TensorSpec("image" if is_image else "input", ("batch", *shape), layout="NCHW" if is_image else ""),)
