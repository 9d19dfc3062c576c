"""`zoo:NAME(option=value)`: a reference network, built for the task at hand."""

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from paring.core.entry import Entry, parse
from paring.core.errors import ParingError, UnknownName
from paring.core.model import Json, Model, Source
from paring.core.task import Task
from paring.load import probe
from paring.load.torch import image
from paring.load.zoo import ZOO


def open(entry: Entry, *, task: Task | None = None, shape: tuple[int, ...] | None = None, seed: int = 0) -> Model:
    """The network; channels, image size and number of classes come from the task where the entry leaves them out."""
    where = f"zoo:{entry.rest}"
    options = inspect.signature(ZOO.load(entry.rest)).parameters
    for name in entry.arguments:
        if name not in options:
            raise UnknownName.of("option", name, options, where=where)
    given = task.inputs[0].shape[1:] if task is not None else shape
    found: dict[str, Any] = {}
    if given is not None:
        if len(given) != 3:
            raise ParingError(f"takes an image, not an input of shape {given}", where, "use data with images")
        channels, height, width = given
        found = {"channels": channels, "size": height if height == width else [height, width]}
    if task is not None and task.labels:
        found["classes"] = len(task.labels)
    arguments = found | dict(entry.arguments)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = build(entry.rest, arguments)
    if task is not None:
        inputs = task.inputs
    else:
        size = arguments.get("size", options["size"].default)
        height, width = size if isinstance(size, list | tuple) else (size, size)
        inputs = image((arguments.get("channels", options["channels"].default), height, width), where)
    return probe.model(module, Source(where, arguments), inputs)


def rebuild(source: Source) -> nn.Module:
    """The network of a saved model."""
    return build(parse(source.entry).rest, source.arguments)


def build(name: str, arguments: Mapping[str, Json]) -> nn.Module:
    """Calls the factory called `name`."""
    values = {key: tuple(value) if isinstance(value, list) else value for key, value in arguments.items()}
    try:
        module: nn.Module = ZOO.load(name)(**values)
    except TypeError as error:
        raise ParingError(str(error), f"zoo:{name}", "give options of the right types, e.g. (width=0.5)") from error
    return module
