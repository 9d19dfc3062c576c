"""A model becomes coremltools' own program: its operators by coremltools, its weights as the model says."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.export import ExportedProgram
from torch.fx import GraphModule, Node

from paring.core.codes import Codes
from paring.core.model import Model, TensorSpec
from paring.core.quiet import quiet
from paring.targets.coreml.library import OPERATORS, ct
from paring.targets.coreml.stored import store
from paring.targets.folded import fold_weights
from paring.targets.traced import samples, trace

# of a tensor in a model -> of the same in a package, which has no wider integers
ENDS = {"float32": np.float32, "int32": np.int32, "int64": np.int32}
_PARTS = {torch.ops.aten.__and__.Tensor: torch.ops.aten.bitwise_and.Tensor}  # what PyTorch's own table lacks
_DEEPEST = 4  # times that a part is taken apart again


def program_of(model: Model) -> ExportedProgram:
    """The model's operators for one sample, integer weights as integers.

    Operators that coremltools lacks are taken apart where PyTorch knows how. Raises what `torch.export` raises.
    """
    program: ExportedProgram = trace(model)
    with quiet():
        if model.quantized:
            graph: Any = program.module(check_guards=False)
            fold_weights(graph)
            graph.graph.eliminate_dead_code()
            needed = GraphModule(graph, graph.graph)  # without the float weights that were folded
            program = torch.export.export(needed, samples(model.inputs), strict=False)
        program = program.run_decompositions({})
        _drop(program)
        for _ in range(_DEEPEST):
            missing = {node.target for node in unknown(program)}
            table = {**torch.export.default_decompositions(), **_PARTS} if missing else {}
            parts = {operator: table[operator] for operator in missing if operator in table}
            if not parts:
                break
            program = program.run_decompositions(parts)
            _drop(program)
    return program


def unknown(program: ExportedProgram) -> list[Node]:
    """The operators that coremltools has no translation for."""
    return [node for node in program.graph.nodes if node.op == "call_function" and not _known(node.target)]


def _known(called: Any) -> bool:
    if not isinstance(called, torch._ops.OpOverload):  # getitem and the like: plain Python
        return True
    name: Any = called.name  # not typed
    return OPERATORS.get_func(name()) is not None


def _drop(program: ExportedProgram) -> None:
    """Removes what computes nothing: checks that were made when it was traced, other names of the same tensor."""
    for node in list(program.graph.nodes):
        if node.target is torch.ops.aten.alias.default:
            node.replace_all_uses_with(node.args[0])
            program.graph.erase_node(node)
        elif str(node.target).startswith("aten._assert"):
            program.graph.erase_node(node)


def translated(model: Model, program: ExportedProgram, system: str, precision: str) -> tuple[Any, list[str]]:
    """The model as a MIL program, not optimised yet, and the layers whose weights could not be stored as they should.

    Args:
        model: what `program` was made of.
        program: as `program_of` gives it.
        system: the oldest to run it, e.g. `iOS17`.
        precision: that it will compute in once `written`; here everything is float32.

    Raises what coremltools raises.
    """
    with quiet():
        converted = ct.convert(
            program,
            convert_to="milinternal",
            inputs=_ends(model.inputs, shaped=True),
            outputs=_ends(model.outputs),
            minimum_deployment_target=ct.target[system],
            compute_precision=ct.precision.FLOAT32,
            pass_pipeline=ct.PassPipeline.EMPTY,
        )
        return converted, store(converted, _codes(model, program), system, precision)


def system_of(model: Model, program: ExportedProgram) -> str:
    """The oldest system that can hold the model's weights."""
    codes = [Codes.from_json(one.value) for one in model.invariants if one.kind == "codes"]
    dequantized = [node for node in program.graph.nodes if "dequantize_per" in str(node.target)]
    narrow = any(node.args[-2] == 7 for node in dequantized)  # the largest code
    return "iOS18" if narrow or any(one.dtype == "int4" or one.block for one in codes) else "iOS17"


def _ends(specs: Sequence[TensorSpec], *, shaped: bool = False) -> list[Any]:
    return [
        ct.TensorType(name=spec.name, dtype=ENDS[spec.dtype], **({"shape": spec.sized(1)} if shaped else {}))
        for spec in specs
    ]


def _codes(model: Model, program: ExportedProgram) -> Mapping[str, tuple[str, Codes]]:
    """Name of a constant -> the layer whose weight it is, and how that is to be stored."""
    tensors = dict(model.module.named_parameters(remove_duplicate=False))
    wanted = {
        id(tensors[f"{one.layer}.weight"]): (one.layer, Codes.from_json(one.value))
        for one in model.invariants
        if one.kind == "codes"
    }
    held = program.graph_signature.inputs_to_parameters
    return {name: wanted[id(tensors[full])] for name, full in held.items() if id(tensors.get(full)) in wanted}
