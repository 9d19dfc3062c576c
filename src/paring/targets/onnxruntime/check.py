"""Whether ONNX Runtime can run a model, told before any training."""

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch.export import ExportedProgram

from paring.core.model import Model
from paring.core.quiet import quiet
from paring.core.target import Problem
from paring.targets.traced import layer_of, of_other_types, trace, untraceable

aten = torch.ops.aten

# operators, for which of their calls, what is wrong with it, remedy
_UNLIKE: tuple[tuple[set[Any], Callable[[Any], bool], str, str], ...] = (
    (
        {aten.scaled_dot_product_attention.default},
        lambda node: node.args[0].meta["val"].dim() != 4,
        "torch.onnx translates attention of (batch, heads, length, width) alone",
        "give query, key and value an axis of heads: unsqueeze(1) before, squeeze(1) behind",
    ),
    (
        {aten.avg_pool2d.default, aten.avg_pool3d.default},
        lambda node: len(node.args) > 6 and node.args[6] is not None,
        "ONNX has no average pooling with a divisor of its own",
        "leave divisor_override out, and multiply by what it stands for",
    ),
)
DTYPES = ("float32", "float64", "int8", "int16", "int32", "int64", "uint8", "bool")


def problems(model: Model, runtime: str = "ONNX Runtime") -> list[Problem]:
    """Every reason why `model` cannot become an `.onnx` that `runtime` takes, all at once."""
    found = of_other_types(model, DTYPES, runtime)
    try:
        program = trace(model)
    except Exception as error:  # torch.export raises many kinds
        return [*found, untraceable(model, error)]
    found += [
        Problem(f"ONNX has no translation for {operator}", layer, "replace the layer by one that ONNX has")
        for operator, layer in _unknown(program)
    ]
    return found + unlike(program)


def unlike(program: ExportedProgram) -> list[Problem]:
    """Operators that are translated, but not with the options that they have here."""
    return [
        Problem(told, layer_of(node.meta), remedy)
        for node in program.graph.nodes
        for operators, refused, told, remedy in _UNLIKE
        if node.target in operators and refused(node)
    ]


def _unknown(program: ExportedProgram) -> list[tuple[str, str]]:
    """(operator, layer) of every operator that is neither translated nor falls apart into ones that are."""
    if not _missing(program):
        return []
    from torch.onnx._internal.exporter import _fx_passes

    with quiet():  # most composite operators are known only by their parts
        return _missing(_fx_passes.decompose_with_registry(program, _translations()))


def _missing(program: ExportedProgram) -> list[tuple[str, str]]:
    known = _translations()

    def translated(operator: Any) -> bool:
        return (
            not isinstance(operator, torch._ops.OpOverload)  # getitem and the like: plain Python
            or bool(known.get_decomps(operator))
            or str(operator).startswith(("aten._assert", "aten.sym_constrain"))  # checked when traced, computes nothing
        )

    calls = [node for node in program.graph.nodes if node.op == "call_function" and not translated(node.target)]
    return list(dict.fromkeys((str(node.target), layer_of(node.meta)) for node in calls))


@cache
def _translations() -> Any:
    """The exporter's table: ATen operator -> its translations."""
    with quiet():  # it tells of packages that it does without
        from torch.onnx._internal.exporter import _registration

        return _registration.ONNXRegistry.from_torchlib()
