"""Whether PyTorch Mobile can run a model, told before any training."""

import torch
from torch.export import ExportedProgram

from paring.core.model import Model
from paring.core.target import Problem
from paring.targets.traced import layer_of, of_other_types, trace, untraceable

DTYPES = ("float32", "float64", "int64", "int32", "int8", "uint8")  # of the tensors that Java and Objective-C have
_OWN = {"aten", "prim", "quantized_decomposed"}  # namespaces; the second holds what converts and checks


def problems(model: Model) -> list[Problem]:
    """Every reason why `model` cannot become a `.ptl`, all at once."""
    found = of_other_types(model, DTYPES, "PyTorch Mobile")
    try:
        program = trace(model)
    except Exception as error:  # torch.export raises many kinds
        return [*found, untraceable(model, error)]
    return found + foreign(program)


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
