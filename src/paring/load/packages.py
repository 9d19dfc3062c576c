"""Models by name from packages that the user has: `torchvision:mobilenet_v2(weights="DEFAULT")`, `timm:NAME`.

Nothing in paring needs these packages. What they do when they are called (fetch weights, say) is theirs.
"""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from paring.core.entry import Entry, parse
from paring.core.errors import ParingError, UnknownName
from paring.core.model import Json, Model, Source, TensorSpec
from paring.core.task import Task
from paring.load import probe
from paring.load.torch import inputs_of


@dataclass(frozen=True, slots=True)
class _Package:
    """Where a package keeps its models: a function of (name, **options), and one that gives all names."""

    module: str
    create: str
    names: str


_PACKAGES = {
    "torchvision": _Package("torchvision.models", "get_model", "list_models"),
    "timm": _Package("timm", "create_model", "list_models"),
}


def open(
    entry: Entry,
    *,
    task: Task | None = None,
    shape: tuple[int, ...] | tuple[TensorSpec, ...] | None = None,
    seed: int = 0,
) -> Model:
    """The model of that name; its inputs are the task's, or those of `shape`."""
    source = Source(f"{entry.scheme}:{entry.rest}", entry.arguments)
    inputs = inputs_of(task, shape, str(source))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = build(entry.scheme, entry.rest, entry.arguments)
    return probe.model(module, source, inputs)


def rebuild(source: Source) -> nn.Module:
    """The module of a saved model."""
    entry = parse(source.entry)
    return build(entry.scheme, entry.rest, source.arguments)


def build(package: str, name: str, arguments: Mapping[str, Json]) -> nn.Module:
    """Asks a package for a model.

    Raises:
        ParingError: the package is missing or broken, knows no such model, or fails to build it.
    """
    where, place = f"{package}:{name}", _PACKAGES[package]
    try:
        library: Any = importlib.import_module(place.module)
        create, names = getattr(library, place.create), getattr(library, place.names)()
    except ModuleNotFoundError as error:
        problem = f"needs the package {package!r}" if error.name == package else f"lacks the package {error.name!r}"
        raise ParingError(problem, where, f"pip install {error.name}, of the version made for your torch") from error
    except Exception as error:  # a build made for another torch fails in any way
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ParingError(
            f"importing {place.module} fails: {type(error).__name__}: {reason}",
            where,
            f"install the {package} that was built for torch {torch.__version__} "
            "(a CPU and a CUDA build do not go together), or write torch:package.module:factory",
        ) from error
    if name not in names:
        raise UnknownName.of("model", name, names, where=package)
    try:
        made = create(name, **arguments)
    except Exception as error:  # likewise
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ParingError(
            f"{package} cannot build it: {type(error).__name__}: {reason}",
            where,
            f"give options that {package} takes; weights that it fetches need a network",
        ) from error
    if not isinstance(made, nn.Module):
        raise ParingError(f"{package} gives {type(made).__name__}", where, "name a model that is a torch.nn.Module")
    return made
