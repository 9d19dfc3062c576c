"""`keras:FILE`: a `.keras` or `.h5` file, or a folder saved by Keras."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from paring.core.entry import Entry
from paring.core.errors import MissingExtra, ParingError, UnknownName
from paring.core.model import Model, Source, TensorSpec
from paring.core.target import Array
from paring.core.task import Task
from paring.load import alone, prove
from paring.load.blueprint import Blueprint, Network
from paring.load.keras import archive, config, read
from paring.load.keras.inputs import Input, Shape, inputs_of
from paring.load.keras.sheet import Value
from paring.load.keras.translate import Drawn, held, translate


def open(entry: Entry, *, task: Task | None = None, shape: Shape | None = None, seed: int = 0) -> Model:
    """The model of a file, rebuilt in torch layers and proved to answer as Keras does.

    Args:
        entry: the path; `custom="package.module"` names a module of the user's that registers layers and builders.
        task: its inputs give sizes that the file leaves open, and the name of a single input.
        shape: of one sample, channels first for a picture, where the file leaves it open and there is no task; or a
            description of each input, by its name or in order.
        seed: of the samples that the proof runs on.

    Raises:
        MissingExtra: Keras is not installed.
        ParingError: the file is damaged, unsafe or of another kind; it holds code or unknown layers; its input has
            another shape; or the rebuilt network answers otherwise.
    """
    path, where = Path(entry.rest), f"keras:{entry.rest}"
    for option in entry.arguments:
        if option != "custom":
            raise UnknownName.of("option", option, ["custom"], where=where)
    for package in ("keras", "h5py"):
        if importlib.util.find_spec(package) is None:
            raise MissingExtra.of(package, "keras", where)
    found = archive.config(path)
    if "custom" in entry.arguments:
        _import(str(entry.arguments["custom"]), where)
    config.check(found, where)
    original = read.load(path)
    inputs = inputs_of(original, task, shape, where)
    specs = tuple(one.spec for one in inputs)
    values = [one.value for one in inputs]
    samples = prove.samples(specs, seed)
    try:
        drawn = translate(original, values, samples, where)
    except ParingError:
        raise
    except Exception as error:  # Keras's layers, or a user's builder, can fail in any way
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ParingError(
            f"Keras's own forward pass or a builder fails: {type(error).__name__}: {reason[:300]}",
            where,
            "give the shape that it takes: --shape 3,224,224",
        ) from error
    network = assemble(drawn)
    wanted = [answer.numpy() for answer in drawn.answers]
    prove.prove(network, samples, wanted, partial(_layers, original, inputs, samples, drawn.blueprint), where)
    outputs = tuple(_output(position, answer) for position, answer in enumerate(drawn.answers))
    source = Source(str(Entry("keras", entry.rest)), entry.arguments, drawn.blueprint.as_json())
    model = Model(network, source, specs, outputs)
    alone.check(model)
    return model


def assemble(drawn: Drawn) -> Network:
    """The network with its weights, which are not drawn at random first."""
    with torch.device("meta"):
        network = Network(drawn.blueprint)
    network.load_state_dict(dict(drawn.tensors), assign=True)
    return network.eval()


def _layers(
    original: Any, inputs: Sequence[Input], samples: Sequence[Array], blueprint: Blueprint
) -> list[tuple[str, str, Array]]:
    """Every layer's answer once more, for the message that names the first one that differs."""
    found: list[tuple[str, str, Array]] = []
    known = {*blueprint.inputs, *(node.name for node in blueprint.nodes)}

    def watch(name: str, value: Value, tensor: Tensor) -> None:
        if value.reference.partition(":")[0] in known:
            found.append((name, value.reference, held(tensor, value)))

    translate(original, [one.value for one in inputs], samples, "keras", watch)
    return found


def _output(position: int, answer: Tensor) -> TensorSpec:
    name = "output" if position == 0 else f"output_{position}"
    return TensorSpec(name, ("batch", *answer.shape[1:]), str(answer.dtype).removeprefix("torch."))


def _import(module: str, where: str) -> None:
    """The user's own module, which the entry names in plain sight; the working directory may hold it."""
    read.keras()  # on the right backend, before the module imports it
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        importlib.import_module(module)
    except Exception as error:  # a user's module can fail in any way
        raise ParingError(
            f"importing {module} fails: {type(error).__name__}: {error}",
            where,
            "run where the module lies, and mend it",
        ) from error
    finally:
        sys.path.remove(here)
