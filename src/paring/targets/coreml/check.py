"""Whether Core ML can run a model, told before any training."""

import re
from collections.abc import Iterator

import torch
from torch.export import ExportedProgram

from paring.core.model import Model
from paring.core.target import Problem
from paring.targets.coreml.library import OPERATORS
from paring.targets.coreml.translate import ENDS, program_of, system_of, translated
from paring.targets.traced import first_line, layer_of, of_other_types, untraceable

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def problems(model: Model) -> list[Problem]:
    """Every reason why `model` cannot become an `.mlpackage`, all at once."""
    found = [*of_other_types(model, tuple(ENDS), "Core ML"), *_names(model)]
    try:
        program = program_of(model)
    except Exception as error:  # torch.export raises many kinds
        return [*found, untraceable(model, error)]
    missing = list(_unknown(program))
    if found or missing:
        return found + missing
    try:
        translated(model, program, system_of(model, program), "float32")
    except Exception as error:  # a translation may refuse an operator's options, in any way
        remedy = "replace the layer that the message names"
        return [Problem(f"coremltools cannot translate it: {first_line(error)}", str(model.source), remedy)]
    return []


def _names(model: Model) -> Iterator[Problem]:
    for spec in (*model.inputs, *model.outputs):
        if not _NAME.fullmatch(spec.name):
            yield Problem("Core ML takes letters, digits and _ in a name", spec.name, "give it another name")


def _unknown(program: ExportedProgram) -> Iterator[Problem]:
    """A problem for each operator that coremltools has no translation for."""
    missing = [
        (str(node.target), layer_of(node.meta))
        for node in program.graph.nodes
        if node.op == "call_function"
        and isinstance(node.target, torch._ops.OpOverload)  # getitem and the like: plain Python
        and OPERATORS.get_func(node.target.name()) is None
    ]
    for operator, layer in dict.fromkeys(missing):
        yield Problem(
            f"coremltools has no translation for {operator}", layer, "replace the layer by one that Core ML has"
        )
