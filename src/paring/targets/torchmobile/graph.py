"""A model whose weights are codes, as a graph of PyTorch's quantized operators."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Interpreter, Node

from paring.core.model import Model
from paring.core.quiet import quiet
from paring.targets.feeding import End
from paring.targets.torchmobile.dynamic import quantize_inputs
from paring.targets.torchmobile.engine import engine
from paring.targets.torchmobile.integers import on_codes
from paring.targets.torchmobile.kernels import SCALE, Scale, aten, codes_of
from paring.targets.traced import NO_LAYER, layer_of, trace

native: Any = torch._C  # its stubs lack what is used here


@dataclass(frozen=True)
class Ends:
    """Scales of the inputs and outputs that hold codes; None for each that holds values."""

    inputs: list[Scale | None]
    outputs: list[Scale | None]


class Network(nn.Module):
    """Runs a graph so that a trace of it knows the layers."""

    def __init__(self, graph: GraphModule) -> None:
        super().__init__()
        self.graph = graph

    def forward(self, *given: Tensor) -> Any:
        """As the graph does."""
        return _Run(self.graph).run(*given)


class _Run(Interpreter):
    def run_node(self, n: Node) -> Any:
        found = super().run_node(n)
        if n.op == "call_function" and isinstance(found, Tensor) and torch._C._get_tracing_state():
            traced: Any = native._get_value_trace(found)
            layer = layer_of(n.meta)
            traced.setDebugName(n.name if layer == NO_LAYER else f"{layer}.{n.name}".replace(".", "_"))
        return found


def rewritten(model: Model, bare: bool) -> tuple[Network, Ends]:
    """The network of a model with weights of codes, and its ends. Raises what `torch.export` raises.

    Args:
        model: that has invariants of the kind `scale` or `codes`.
        bare: whether inputs and outputs are to be uint8 codes, where they are quantized in one way.
    """
    with quiet(), engine(), torch.inference_mode(False), torch.no_grad():
        graph: Any = trace(model).module(check_guards=False)
        on_codes(graph)
        quantize_inputs(graph, model)
        given = [node for node in graph.graph.nodes if node.op == "placeholder"]
        taken = list(graph.graph.output_node().args[0])
        ends = Ends(
            [_bare_input(node) if bare else None for node in given],
            [_bare_output(node) if bare else None for node in taken],
        )
        graph.graph.eliminate_dead_code()
        return Network(GraphModule(graph, graph.graph)), ends


def end(shape: tuple[int, ...], dtype: str, scale: Scale | None, channels_last: bool = False) -> End:
    """An end of the file; its shape is that of the file."""
    if channels_last:
        shape = (shape[0], *shape[2:], shape[1])
    return End(shape, dtype if scale is None else "uint8", *(scale or (0.0, 0)), channels_last)


def _bare_input(node: Node) -> Scale | None:
    """Makes an input take codes; None if it is not quantized in one way."""
    users = list(node.users)
    if not users or any(user.target is not aten.quantize_per_tensor.default for user in users):
        return None
    scales: set[Scale] = {user.meta[SCALE] for user in users}
    if len(scales) > 1:
        return None
    (scale,) = scales
    with node.graph.inserting_after(node):
        codes = node.graph.call_function(aten._make_per_tensor_quantized_tensor.default, (node, *scale))
    for user in users:
        user.replace_all_uses_with(codes)
        node.graph.erase_node(user)
    return scale


def _bare_output(node: Node) -> Scale | None:
    """Makes the graph give an output's codes; None if it is computed in float."""
    codes = codes_of(node)
    if codes is None:
        return None
    output = node.graph.output_node()
    with node.graph.inserting_before(output):
        integers = node.graph.call_function(aten.int_repr.default, (codes,))
    output.replace_input_with(node, integers)
    scale: Scale = codes.meta[SCALE]
    return scale
