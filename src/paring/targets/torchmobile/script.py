"""A module becomes TorchScript, and TorchScript a file of the lite interpreter: the same bytes each time."""

import json
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from typing import Any, cast

import torch
from torch import Tensor, nn

from paring.core.model import Json
from paring.core.quiet import quiet
from paring.targets.torchmobile.engine import engine

jit, native = cast("Any", torch.jit), cast("Any", torch._C)  # neither is typed

METADATA = "paring.json"
_CLASS = "__torch__.Model"
_SCOPE = "__module."  # before a layer's name, where a trace notes which layer computes a value
_DEBUG = ".debug_pkl"  # where each line of code was traced from: paths of this machine


def function(module: nn.Module, given: Sequence[Tensor], mode: str) -> Any:
    """A TorchScript function that computes what `module` does, its weights constants, batch norms in convolutions.

    Raises what `torch.jit` raises.
    """
    with quiet(), engine(), torch.inference_mode(False), torch.no_grad():
        scripts = mode == "script"
        made: Any = jit.script(module) if scripts else jit.trace(module, tuple(given), check_trace=False)
        graph = jit.freeze(made.eval()).graph.copy()
    graph.eraseInput(0)  # the module itself, of which nothing is left
    return native._create_function_from_graph("forward", graph)


def module(called: Callable[..., Any], given: Sequence[Tensor], names: Sequence[str]) -> Any:
    """A `ScriptModule` whose `forward` is a trace of `called`.

    Its class has the same name in every process and export. A module that `torch.jit` makes takes names of Python's
    classes, and counts these over the life of the process.

    Args:
        called: computes answers from `given`: a tensor, or a tuple of several. What a layer computes gets its name.
        given: inputs to trace with.
        names: of these.
    """
    made = native.ScriptModule(_CLASS, native.CompilationUnit(), True)
    made._register_attribute("training", native.BoolType.get(), False)
    with quiet(), engine(), torch.inference_mode(False), torch.no_grad():
        made._create_method_from_trace("forward", called, tuple(given), lambda _: "", True, False, list(names), False)
        graph = made._get_method("forward").graph
        native._jit_pass_inline(graph)
    for node in graph.nodes():
        layer = node.scopeName().rpartition("/")[2].removeprefix(_SCOPE)
        if layer and node.outputsSize() == 1 and not node.kind().startswith("prim::"):
            operator = node.kind().partition("::")[2].strip("_")
            node.output().setDebugName(f"{layer}_{operator}".replace(".", "_"))
    return jit._recursive.wrap_cpp_module(made)


def written(scripted: Any, metadata: Mapping[str, Json]) -> bytes:
    """The file: bytecode, the same as source code, and constants, without what only a debugger reads."""
    extra = {METADATA: json.dumps(metadata, sort_keys=True)}
    with quiet(), engine():
        given = native.PyTorchFileReader(BytesIO(scripted._save_to_buffer_for_lite_interpreter(_extra_files=extra)))
        content = BytesIO()
        writer = native.PyTorchFileWriter(content)
        for name in given.get_all_records():
            if not name.endswith(_DEBUG) and name not in {"version", ".data/serialization_id"}:  # it writes these
                record = given.get_record(name)
                writer.write_record(name, record, len(record))
        writer.write_end_of_file()
    return content.getvalue()
