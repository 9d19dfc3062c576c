"""Whether Core ML can run a model, told before any training."""

import re
from collections.abc import Iterator

from paring.core.model import Model
from paring.core.target import Problem
from paring.targets.coreml.translate import ENDS, program_of, system_of, translated, unknown
from paring.targets.traced import first_line, layer_of, of_other_types, untraceable

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def problems(model: Model) -> list[Problem]:
    """Every reason why `model` cannot become an `.mlpackage`, all at once."""
    found = [*of_other_types(model, tuple(ENDS), "Core ML"), *_names(model)]
    try:
        program = program_of(model)
    except Exception as error:  # torch.export raises many kinds
        return [*found, untraceable(model, error)]
    missing = dict.fromkeys((str(node.target), layer_of(node.meta)) for node in unknown(program))
    found += [
        Problem(f"coremltools has no translation for {operator}", layer, "replace the layer by one that Core ML has")
        for operator, layer in missing
    ]
    if found:
        return found
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
