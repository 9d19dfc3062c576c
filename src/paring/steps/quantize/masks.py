"""Numbers that shut positions out of attention: so large that codes which hold them hold nothing else."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node

from paring.steps.quantize.nodes import attribute

aten = torch.ops.aten
# a score that has this much taken away is out of a softmax; one that has this much added is alone in it
_LOWEST, _HIGHEST = -99.0, 1e4
_FILLING = {"masked_fill", "masked_fill_", "where"}
_NUMBERS = _FILLING | {"full", "full_like", "new_full", "scalar_tensor", "mul", "mul_", "add", "add_", "sub", "rsub"}


def masks(graph: GraphModule) -> set[Node]:
    """Floats that come of whole numbers and constants alone, hold huge numbers, or lead to such.

    Stored parameters are learned, so what comes of them is no mask.
    """
    fixed: dict[Node, bool] = {}  # node -> whether it holds huge numbers
    for node in graph.graph.nodes:
        if node.op == "get_attr" and _is_float(node):
            stored = attribute(graph, node)
            if not isinstance(stored, nn.Parameter):
                fixed[node] = _huge(stored)
        elif node.op == "call_function" and _is_float(node):
            floats = [one for one in node.all_input_nodes if _is_float(one)]
            if all(one in fixed for one in floats):
                fixed[node] = any(fixed[one] for one in floats) or _has_huge_number(node)
    found = {node for node, huge in fixed.items() if huge}
    for node in reversed(graph.graph.nodes):
        if node in fixed and node.users and all(user in found for user in node.users):
            found.add(node)
    return found


def shuts_out(node: Node) -> bool:
    """Whether an operator puts huge numbers in the place of some of its input's."""
    return _name(node) in _FILLING and _has_huge_number(node)


def _has_huge_number(node: Node) -> bool:
    return _name(node) in _NUMBERS and any(_beyond(one) for one in _numbers(node))


def _numbers(node: Node) -> Iterator[float]:
    for one in (*node.args, *node.kwargs.values()):
        if isinstance(one, int | float) and not isinstance(one, bool):
            yield float(one)


def _beyond(number: float) -> bool:
    return not _LOWEST < number < _HIGHEST


def _huge(stored: Any) -> bool:
    if not isinstance(stored, Tensor) or not stored.numel():
        return False
    return _beyond(float(stored.min())) or _beyond(float(stored.max()))


def _name(node: Node) -> str:
    return getattr(node.target, "_opname", "")


def _is_float(node: Node) -> bool:
    """Whether it is a tensor of floats, or a list with such in it."""
    value = node.meta.get("val")
    parts = value if isinstance(value, list | tuple) else [value]
    return any(isinstance(part, Tensor) and part.is_floating_point() for part in parts)
