"""ExecuTorch's graph as XNNPACK can take it: passes between the decomposition and the choice of what XNNPACK runs.

XNNPACK's operators on codes are a pattern here: dequantizations, an operator, a quantization.
"""

from typing import Any

from torch.fx import GraphModule, Node

from paring.core.quiet import quiet

with quiet():
    from executorch.exir.dialects._ops import ops
    from executorch.exir.pass_base import PassResult

_edge, _scales = ops.edge.aten, ops.edge.quantized_decomposed
_QUANTIZE, _DEQUANTIZE = _scales.quantize_per_tensor.default, _scales.dequantize_per_tensor.default
# on codes XNNPACK has them for inputs and an output of one scale. Each keeps the order of values, or moves them
_ONE_SCALE = {
    _edge.cat.default, _edge.clamp.default, _edge.hardtanh.default, _edge.max_pool2d.default,
    _edge.permute_copy.default, _edge.relu.default, _edge.slice_copy.Tensor, _edge.unsqueeze_copy.default,
    _edge.view_copy.default, ops.edge.dim_order_ops._to_dim_order_copy.default,
}  # fmt: skip


def one_reader(graph: GraphModule) -> PassResult:
    """Gives each reader of a dequantization one of its own.

    Where XNNPACK needs channels last for one reader, and first for another, ExecuTorch would turn the values of both.
    """
    for node in list(graph.graph.nodes):
        if node.target is _DEQUANTIZE:
            for user in list(node.users)[1:]:
                with graph.graph.inserting_after(node):
                    own = graph.graph.call_function(_DEQUANTIZE, node.args, node.kwargs)
                own.meta = dict(node.meta)
                user.replace_input_with(node, own)
    return _changed(graph)


def one_scale(graph: GraphModule) -> PassResult:
    """Quantizes to the scale of the output before an operator that has but one scale, where its inputs have others.

    Exact: rounding keeps the order of values, so that it may come before a choice among them as well as behind it.
    """
    for node in list(graph.graph.nodes):
        users = list(node.users)
        if node.target not in _ONE_SCALE or [user.target for user in users] != [_QUANTIZE]:
            continue
        scale = users[0].args[1:]
        if any(source.target is not _DEQUANTIZE for source in node.all_input_nodes):
            continue
        for source in node.all_input_nodes:
            if source.args[1:] != scale:
                node.replace_input_with(source, _requantized(graph, source, users[0]))
    return _changed(graph)


def _requantized(graph: GraphModule, values: Node, quantize: Node) -> Node:
    """Values, as a quantization elsewhere would round them."""
    new: Any = graph.graph
    with new.inserting_after(values):
        codes = new.call_function(_QUANTIZE, (values, *quantize.args[1:]), quantize.kwargs)
    with new.inserting_after(codes):
        rounded = new.call_function(_DEQUANTIZE, (codes, *quantize.args[1:]), quantize.kwargs)
    codes.meta, rounded.meta = dict(values.meta), dict(values.meta)
    codes.meta["val"] = values.args[0].meta["val"]  # type: ignore[union-attr]
    return rounded  # type: ignore[no-any-return]


def _changed(graph: GraphModule) -> PassResult:
    graph.graph.lint()
    graph.recompile()
    return PassResult(graph, True)
