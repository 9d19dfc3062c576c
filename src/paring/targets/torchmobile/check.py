"""Whether PyTorch Mobile can run a model, told before any training."""

from collections.abc import Iterator

import torch
from torch.export import ExportedProgram

from paring.core.codes import Codes
from paring.core.model import Model
from paring.core.target import Problem
from paring.targets.traced import layer_of, of_other_types, trace, untraceable

DTYPES = ("float32", "float64", "int64", "int32", "int8", "uint8")  # of the tensors that Java and Objective-C have
_OWN = {"aten", "prim", "quantized_decomposed"}  # namespaces; the second holds what converts and checks


def problems(model: Model) -> list[Problem]:
    """Every reason why `model` cannot become a `.ptl`, all at once."""
    found = [*of_other_types(model, DTYPES, "PyTorch Mobile"), *_stored(model)]
    try:
        program = trace(model)
    except Exception as error:  # torch.export raises many kinds
        return [*found, untraceable(model, error)]
    return [*found, *_wide(program), *foreign(program)]


def _stored(model: Model) -> Iterator[Problem]:
    """Layers whose weights are codes of a form that PyTorch's kernels lack."""
    for one in model.invariants:
        if one.kind == "codes":
            codes = Codes.from_json(one.value)
            if (codes.dtype, codes.activations, codes.block) != ("int8", "dynamic", 0):
                groups = f" in groups of {codes.block}" if codes.block else ""
                yield Problem(
                    f"PyTorch Mobile has no kernel for {codes.dtype} weights{groups}, {codes.activations} activations",
                    one.layer,
                    "quantize.dynamic with weights: int8, for linear layers, or quantize.static",
                )


def _wide(program: ExportedProgram) -> Iterator[Problem]:
    """Activations, or weights, of other integers than those of eight bits."""
    kinds = {
        str(one.args[-1]).removeprefix("torch.")
        for one in program.graph.nodes
        if str(one.target).startswith("quantized_decomposed.quantize")
    }
    for kind in sorted(kinds - {"int8"}):
        yield Problem(f"PyTorch Mobile has no kernels for {kind} codes", "the model", "int8 weights and activations")


def foreign(program: ExportedProgram) -> list[Problem]:
    """A problem for each operator, in each layer, that is of another library: its kernels are not in the app."""
    missing = [
        (str(node.target), layer_of(node.meta))
        for node in program.graph.nodes
        if isinstance(node.target, torch._ops.OpOverload) and node.target.namespace not in _OWN
    ]
    return [
        Problem(f"PyTorch Mobile has no kernel for {operator}", layer, "replace the layer by PyTorch's own operators")
        for operator, layer in dict.fromkeys(missing)
    ]
