"""Products with a stored matrix, as linear layers: GPT-2's `addmm`, and `x @ weight`."""

from typing import Any

from torch import Tensor, nn
from torch.fx import GraphModule, Node

from paring.steps.quantize.rewrites.place import Place, Rule, aten, shape


def _product(here: Place, x: Node, matrix: Any) -> Node | None:
    return _linear(here, x, matrix, None)


def _affine(here: Place, bias: Node, x: Node, matrix: Node, *, beta: float = 1, alpha: float = 1) -> Node | None:
    fits = bias.op == "get_attr" and len(shape(bias)) == 1 and beta == alpha == 1
    return _linear(here, x, matrix, bias) if fits else None


def _linear(here: Place, x: Node, matrix: Any, bias: Node | None) -> Node | None:
    """A linear layer's stored weight has its outputs first: the matrix is stored turned, where nothing else reads it.

    The graph gets a parameter of its own; the model's stays as it is.
    """
    if not isinstance(matrix, Node) or len(shape(matrix)) != 2 or len(shape(x)) < 2:
        return None
    rest = [] if bias is None else [bias]
    if _swaps(matrix):
        return here.call(aten.linear.default, x, matrix.args[0], *rest)
    if matrix.op != "get_attr" or len(matrix.users) > 1 or _times_read(here.graph, str(matrix.target)) > 1:
        return None
    owner, _, name = str(matrix.target).rpartition(".")
    holder = here.graph.get_submodule(owner)
    stored = getattr(holder, name)
    if not isinstance(stored, nn.Parameter):
        return None
    weight: Tensor = stored.detach().t().contiguous()
    setattr(holder, name, nn.Parameter(weight, requires_grad=stored.requires_grad))
    matrix.meta["val"] = matrix.meta["val"].t().contiguous()
    return here.call(aten.linear.default, x, matrix, *rest)


def _swaps(node: Node) -> bool:
    """Whether it is the transposition of a stored matrix."""
    source: Any = node.args[0] if node.args else None
    if not isinstance(source, Node) or source.op != "get_attr":
        return False
    rest: Any = node.args[1:]
    if node.target is aten.permute.default:
        return [axis % 2 for axis in rest[0]] == [1, 0]
    return node.target is aten.transpose.int and rest[0] % 2 != rest[1] % 2


def _times_read(graph: GraphModule, path: str) -> int:
    """How many nodes stand for a stored tensor."""
    return sum(node.op == "get_attr" and node.target == path for node in graph.graph.nodes)


RULES: dict[object, Rule] = {
    aten.matmul.default: _product,
    aten.mm.default: _product,
    aten.addmm.default: _affine,
}
