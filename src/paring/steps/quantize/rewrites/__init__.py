"""Operators of a captured graph, written as others that mean the same and that int8 kernels are known for.

What gives a list (`chunk`, `split`, `unbind`) becomes slices, what is a product at heart (SiLU) a product, pooling over
a line pooling over an image. Nothing here depends on what a tensor holds, only on shapes and arguments, so that a saved
model is rebuilt to the same graph.
"""

from torch.fx import GraphModule

from paring.steps.quantize.rewrites import arithmetic, lists, matrices, moves, pooling
from paring.steps.quantize.rewrites.place import Place, Rule

RULES: dict[object, Rule] = {
    **lists.RULES,
    **moves.RULES,
    **pooling.RULES,
    **arithmetic.RULES,
    **matrices.RULES,
}


def rewrite(graph: GraphModule) -> None:
    """Rewrites a graph without writes, in place; what no rule fits stays as it is."""
    for node in list(graph.graph.nodes):
        rule = RULES.get(node.target)
        if rule is None or node.op != "call_function":
            continue
        with graph.graph.inserting_before(node):
            found = rule(Place(graph, node), *node.args, **node.kwargs)
        if found is not None:
            node.replace_all_uses_with(found)
            graph.graph.erase_node(node)
    graph.graph.eliminate_dead_code()
    graph.recompile()
