"""Whether LiteRT can run a model, told before any training."""

from collections.abc import Callable, Collection, Iterable, Sequence
from functools import cache
from importlib.metadata import version
from typing import Any

import torch
from torch import fx, nn
from torch.export import ExportedProgram

from paring.core.model import Model
from paring.core.quiet import quiet
from paring.core.target import Problem
from paring.data.cache import combined, remember
from paring.targets.traced import layer_of, of_other_types, operator, trace, untraceable

# converted all the same: ai-edge-litert 2.3.0 refuses the files of litert-torch 0.10.0, argsort is not even converted
_SORTS = {"argsort", "msort", "sort", "topk"}
_REMEMBERED_AS = "LiteRT knows 1"  # to be counted up when what makes an operator known changes
DTYPES = ("float32", "int32", "int64", "int8", "uint8", "bool")


def problems(model: Model) -> list[Problem]:
    """Every reason why `model` cannot become a `.tflite`, all at once."""
    found = of_other_types(model, DTYPES, "LiteRT")
    try:
        program = trace(model)
    except Exception as error:  # torch.export raises many kinds
        return [*found, untraceable(model, error)]
    if without := _without_form(program):  # which the converter cannot even be asked about
        return found + without
    found += [
        Problem(f"LiteRT has no lowering for {name}", layer, "replace the layer by one that LiteRT has")
        for name, layer in _unknown(program)
    ]
    sorts = [node for node in program.graph.nodes if node.op == "call_function" and operator(node) in _SORTS]
    return found + [
        Problem(f"{name} becomes STABLEHLO_SORT, which LiteRT does not run", layer, "sort in the app")
        for name, layer in dict.fromkeys((str(node.target), layer_of(node.meta)) for node in sorts)
    ]


def _without_form(program: ExportedProgram) -> list[Problem]:
    """A problem for each operator that begins what LiteRT has no tensors for: of no fixed size, or complex."""
    forms: tuple[tuple[Callable[[torch.Tensor], bool], str, str], ...] = (
        (
            lambda value: not all(isinstance(size, int) for size in value.shape),
            "how much {} gives depends on values, and LiteRT's tensors have fixed sizes",
            "a mask in the place of a selection",
        ),
        (
            torch.Tensor.is_complex,
            "LiteRT has no complex numbers, which {} gives",
            "real and imaginary part as two tensors",
        ),
    )

    def has(node: fx.Node, form: Callable[[torch.Tensor], bool]) -> bool:
        value = node.meta.get("val")
        return isinstance(value, torch.Tensor) and form(value)

    found = [
        (told.format(node.target), layer_of(node.meta), remedy)
        for form, told, remedy in forms
        for node in program.graph.nodes
        if has(node, form) and not any(has(one, form) for one in node.all_input_nodes)
    ]
    return [Problem(*one) for one in dict.fromkeys(found)]


def _unknown(program: ExportedProgram) -> list[tuple[str, str]]:
    """(operator, layer) of every operator that neither has a lowering nor falls apart into ones that do."""
    kinds = _kinds(program)
    key = combined([_REMEMBERED_AS, *(f"{name} {version(name)}" for name in ("litert-torch", "torch")), *sorted(kinds)])
    if remember(key, lambda: _all_known(kinds.values())):  # loading the converter takes seconds
        return []
    missing = _missing(program.graph.nodes)
    if missing:
        with quiet():
            missing = _missing(program.run_decompositions(_table()).graph.nodes)  # takes seconds, and names the layers
    return list(dict.fromkeys((str(node.target), layer_of(node.meta)) for node in missing))


def _kinds(program: ExportedProgram) -> dict[str, fx.Node]:
    """A node of each kind: the same operator, the same options, inputs of as many dimensions and of the same types."""

    def told(node: fx.Node) -> str:
        value = node.meta.get("val")
        return f"{value.ndim} {value.dtype}" if isinstance(value, torch.Tensor) else type(value).__name__

    return {
        f"{node.target} {fx.node.map_arg((node.args, node.kwargs), told)}": node
        for node in program.graph.nodes
        if node.op == "call_function"
    }


def _all_known(nodes: Collection[fx.Node]) -> bool:
    """Whether all of these have a lowering, or fall apart into operators that do."""
    missing = _missing(nodes)
    with quiet():  # some composite operators are known only by their parts
        return not missing or not _missing(_alone(missing).run_decompositions(_table()).graph.nodes)


def _missing(nodes: Iterable[fx.Node]) -> list[fx.Node]:
    return [node for node in nodes if node.op == "call_function" and not _known(node.target)]


@cache
def _table() -> Any:
    """The converter's: composite operator -> how it falls apart."""
    with quiet():
        from litert_torch import fx_infra

        return fx_infra.decomp.pre_lower_decomp()


@cache
def _lowerings() -> Any:
    with quiet():  # torchao tells of kernels that it does not find
        from litert_torch.backend import lowerings

        return lowerings


def _known(called: Any) -> bool:
    return (
        not isinstance(called, torch._ops.OpOverload)  # getitem and the like: plain Python
        or _lowerings().lookup(called) is not None
        or called in _table()
        or str(called).startswith("aten._assert")  # checked when traced, computes nothing
    )


def _alone(nodes: Sequence[fx.Node]) -> ExportedProgram:
    """A program of nothing but these nodes, each with inputs of its own."""
    sources = [source for node in nodes for source in node.all_input_nodes]

    class Alone(nn.Module):
        def forward(self, *values: torch.Tensor) -> tuple[Any, ...]:
            left, found = iter(values), []
            for node in nodes:
                given = {source: next(left) for source in node.all_input_nodes}
                args, kwargs = fx.node.map_arg((node.args, node.kwargs), given.__getitem__)
                found.append(node.target(*args, **kwargs))  # type: ignore[operator]
            return tuple(found)

    values = tuple(torch.zeros(source.meta["val"].shape, dtype=source.meta["val"].dtype) for source in sources)
    return torch.export.export(Alone().eval(), values, strict=False)
