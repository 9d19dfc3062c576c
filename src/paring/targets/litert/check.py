"""Whether LiteRT can run a model, told before any training."""

from typing import Any

import torch
from torch.export import ExportedProgram

from paring.core.model import Model
from paring.core.quiet import quiet
from paring.core.target import Problem
from paring.targets.traced import layer_of, of_other_types, trace, untraceable

DTYPES = ("float32", "int32", "int64", "int8", "uint8", "bool")


def problems(model: Model) -> list[Problem]:
    """Every reason why `model` cannot become a `.tflite`, all at once."""
    found = of_other_types(model, DTYPES, "LiteRT")
    try:
        program = trace(model)
    except Exception as error:  # torch.export raises many kinds
        return [*found, untraceable(model, error)]
    return found + [
        Problem(f"LiteRT has no lowering for {operator}", layer, "replace the layer by one that LiteRT has")
        for operator, layer in _unknown(program)
    ]


def _unknown(program: ExportedProgram) -> list[tuple[str, str]]:
    """(operator, layer) of every operator that neither has a lowering nor falls apart into ones that do."""
    with quiet():
        from litert_torch import fx_infra

    missing = _without_lowering(program)
    if missing:  # some composite operators are known only by their parts
        with quiet():
            program = program.run_decompositions(fx_infra.decomp.pre_lower_decomp())
        missing = _without_lowering(program)
    return missing


def _without_lowering(program: ExportedProgram) -> list[tuple[str, str]]:
    from litert_torch import fx_infra
    from litert_torch.backend import lowerings

    falls_apart = fx_infra.decomp.pre_lower_decomp()

    def known(operator: Any) -> bool:
        return (
            not isinstance(operator, torch._ops.OpOverload)  # getitem and the like: plain Python
            or lowerings.lookup(operator) is not None
            or operator in falls_apart
            or str(operator).startswith("aten._assert")  # checked when traced, computes nothing
        )

    calls = [node for node in program.graph.nodes if node.op == "call_function" and not known(node.target)]
    return list(dict.fromkeys((str(node.target), layer_of(node.meta)) for node in calls))
