"""Whether ExecuTorch can run a model, told before any training."""

from collections.abc import Iterator
from typing import Any

import torch
from torch.export import ExportedProgram

from paring.core.model import Model
from paring.core.quiet import quiet
from paring.core.target import FLOAT_ENDS, ExportOptions, Problem
from paring.targets.executorch import edge, pads
from paring.targets.executorch.program import kernel_kind
from paring.targets.executorch.rewrite import rewritten
from paring.targets.feeding import End
from paring.targets.traced import first_line, layer_of, layers_of, of_other_types, trace, untraceable

with quiet():
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import EdgeCompileConfig, to_edge_transform_and_lower
    from executorch.exir.dialects.edge._ops import EdgeOpOverload
    from executorch.exir.dialects.edge.op.api import to_variant
    from executorch.exir.program._program import _default_decomposition_table
    from executorch.exir.tensor import scalar_type_enum
    from executorch.extension.pybindings import portable_lib
    from torchgen.model import SchemaKind  # type: ignore[import-untyped]

DTYPES = ("float32", "int32", "int64", "int8", "uint8", "bool")


def problems(model: Model) -> list[Problem]:
    """Every reason why `model` cannot become a `.pte`, all at once."""
    found = of_other_types(model, DTYPES, "ExecuTorch")
    try:
        program = trace(model)
    except Exception as error:  # torch.export raises many kinds
        return [*found, untraceable(model, error)]
    if _has_every_kernel(program):  # a tenth of the time that lowering takes
        return found
    try:
        lowered, _ = lower(model, FLOAT_ENDS)
    except Exception as error:  # and so does the lowering
        remedy = "replace the layer that the message names"
        return [*found, Problem(f"ExecuTorch cannot lower it: {first_line(error)}", str(model.source), remedy)]
    return found + without_kernel(lowered)


def _has_every_kernel(program: ExportedProgram) -> bool:
    """Whether ExecuTorch's own kernels would do, so that it does not matter what XNNPACK takes."""
    known = set(portable_lib._get_operator_names())
    with quiet():
        parts = program.run_decompositions(_default_decomposition_table())
    operators = {node.target for node in parts.graph.nodes if node.op == "call_function"}
    return all(
        _written(operator) in known or any(name.startswith(f"{operator._schema.name}_copy.") for name in known)
        for operator in operators
        if isinstance(operator, torch._ops.OpOverload)
    )


def lower(model: Model, options: ExportOptions) -> tuple[Any, dict[str, End]]:
    """The model with all that XNNPACK can run handed to XNNPACK (an `EdgeProgramManager`), and its ends by name."""
    with quiet(), pads.fused():
        program, ends = rewritten(model, options)
        # the checks of the dialect would stop at the first operator that has no kernel
        config = EdgeCompileConfig(_check_ir_validity=False)
        lowered = to_edge_transform_and_lower(
            program,
            transform_passes=[edge.one_scale, edge.one_reader],
            partitioner=[XnnpackPartitioner()],
            compile_config=config,
        )
        return lowered, ends


def without_kernel(lowered: Any) -> list[Problem]:
    """A problem for each operator that XNNPACK did not take and ExecuTorch has no kernel for."""
    known = set(portable_lib._get_operator_names())
    missing = [(str(node.target._op), layer_of(node.meta)) for node in own_nodes(lowered) if kernel(node) not in known]
    return [
        Problem(f"ExecuTorch has no kernel for {operator}", layer, "replace the layer by one that ExecuTorch has")
        for operator, layer in dict.fromkeys(missing)
    ]


def outside_xnnpack(model: Model) -> list[Problem]:
    """What XNNPACK does not take, and ExecuTorch's own kernels compute; what only moves values is not among it."""
    lowered, _ = lower(model, FLOAT_ENDS)
    found: dict[str, list[Any]] = {}
    for node in own_nodes(lowered):
        values = [one.meta.get("val") for one in (*node.all_input_nodes, node)]
        types = [scalar_type_enum(one.dtype).name for one in values if isinstance(one, torch.Tensor)]
        if kernel_kind(kernel(node), types):
            found.setdefault(str(node.target._op), []).append(node)
    return [
        Problem(
            f"XNNPACK does not take {name}: it runs on ExecuTorch's own kernels, which are slower",
            layers_of(nodes),
            "replace the layer, or weigh it by `paring bench`",
            "slow",
        )
        for name, nodes in found.items()
    ]


def own_nodes(lowered: Any) -> Iterator[Any]:
    """The nodes that ExecuTorch's own kernels run, in order."""
    for node in lowered.exported_program().graph.nodes:
        if node.op == "call_function" and isinstance(node.target, EdgeOpOverload):
            yield node


def kernel(node: Any) -> str:
    """The name under which the runtime has the kernel of a node in the edge dialect; empty if there is none."""
    return _written(node.target._op)


def _written(operator: Any) -> str:
    """The variant of an operator that writes to a given tensor, which is what kernels are; empty if it has none."""
    try:
        with quiet():  # it tells of operators on other things than tensors
            return str(to_variant(operator, SchemaKind.out)._name)
    except RuntimeError:
        return ""
