"""Linear layers with integer weights whose inputs are quantized at each inference."""

from typing import Any

import torch
from torch.fx import GraphModule

from paring.core.codes import Codes
from paring.core.model import Model
from paring.targets.torchmobile.kernels import aten, kernels
from paring.targets.torchmobile.layers import constant, pack


def quantize_inputs(graph: GraphModule, model: Model) -> None:
    """Gives the layers that the model promises so, in place, their codes and PyTorch's dynamic kernel.

    Args:
        graph: of `model`'s operators, its parameters under their names.
        model: its invariants of the kind `codes` tell the layers.
    """
    tensors = dict(model.module.named_parameters(remove_duplicate=False))
    promised = {
        id(tensors[f"{one.layer}.weight"]): Codes.from_json(one.value)
        for one in model.invariants
        if one.kind == "codes"
    }
    for node in list(graph.graph.nodes):
        if node.target is not aten.linear.default or node.args[1].op != "get_attr":
            continue
        codes = promised.get(id(tensors.get(str(node.args[1].target))))
        weight, bias = constant(graph, node.args[1]), constant(graph, node.args[2] if len(node.args) > 2 else None)
        stored = None if codes is None or weight is None else codes.of(weight.numpy())
        if codes is None or stored is None:
            continue
        packed: Any = kernels.linear_prepack(_quantized(torch.from_numpy(stored), codes), bias)
        with graph.graph.inserting_before(node):
            held = pack(graph, packed, node.name)
            made = graph.graph.call_function(kernels.linear_dynamic.default, (node.args[0], held))
        made.meta = dict(node.meta)
        node.replace_all_uses_with(made)
        graph.graph.erase_node(node)
    graph.graph.eliminate_dead_code()


def _quantized(stored: torch.Tensor, codes: Codes) -> torch.Tensor:
    scales = torch.tensor(codes.scales, dtype=torch.float64)
    zero_points = torch.zeros(len(codes.scales), dtype=torch.int64)
    return torch._make_per_channel_quantized_tensor(stored, scales, zero_points, codes.axis)
