"""A captured graph without writes: what a network writes into a tensor becomes a new tensor.

Observers stand between an operator and its readers, so that what is written into a tensor, or into a view of it, after
it was given on would be lost. torch's own functionalization makes every write explicit; a write into a slice is a
concatenation of what stays and what is new then, which every runtime has.
"""

import operator
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.fx import GraphModule, Node

from paring.core.errors import ParingError
from paring.steps.quantize.inline import inline
from paring.steps.quantize.nodes import arguments, insert, static, store

aten = torch.ops.aten
_LEGIT = aten._native_batch_norm_legit_no_training.default
_END = 2**63 - 1


def functional(program: ExportedProgram, where: str) -> GraphModule:
    """The graph of an exported program, without a write that anything could miss.

    Raises:
        ParingError: the network keeps something from one call to the next.
    """
    graph = inline(program.module())
    writes = [node for node in graph.graph.nodes if _writes(node)]
    if not all(_alone(node) for node in writes):
        graph = inline(program.run_decompositions({}).module())
        _drop_ends(graph, where)
        _rewrite(graph)
        writes = [node for node in graph.graph.nodes if _writes(node)]
    for node in writes:  # none but it reads what it writes into
        if (pure := _pure(node)) is not None:
            node.target = pure
    graph.recompile()
    return graph


def _writes(node: Node) -> bool:
    return isinstance(node.target, torch._ops.OpOverload) and node.target._schema.is_mutable


def _alone(node: Node) -> bool:
    """Whether an operator writes into a tensor that nothing else holds."""
    written: Any = node.args[0] if node.args else None
    if not isinstance(written, Node) or written.op != "call_function" or list(written.users) != [node]:
        return False
    target = written.target
    if not isinstance(target, torch._ops.OpOverload) or target in (aten.dropout.default, aten.feature_dropout.default):
        return False
    shares = any(one.alias_info is not None for one in target._schema.returns)
    return not shares or (_writes(written) and _alone(written))


def _pure(node: Node) -> Any:
    """The operator that gives what an in-place one writes; None where there is none of the same arguments."""
    target: Any = node.target
    packet, overload = target._schema.name.removeprefix("aten::").removesuffix("_"), target._overloadname
    found = getattr(getattr(aten, packet, None), overload, None)
    if found is None or found._schema.is_mutable:
        return None
    names = [[argument.name for argument in one._schema.arguments] for one in (target, found)]
    return found if names[0] == names[1] else None


def _drop_ends(graph: GraphModule, where: str) -> None:
    """Takes out what is written back at the end, into inputs, and into tensors that the network does not read again."""
    for node in list(graph.graph.nodes):
        if node.target is not aten.copy_.default or node.users:
            continue
        written = arguments(node)[0]
        graph.graph.erase_node(node)
        readers = [one for one in written.users if one.target is not aten.copy.default or one.args[0] is not written]
        if written.op == "get_attr" and readers:
            raise ParingError(
                f"keeps {written.target} from one call to the next, which no exported file does",
                where,
                "give what it keeps as an input, and return it",
            )


def _rewrite(graph: GraphModule) -> None:
    for node in list(graph.graph.nodes):
        if node.target is aten.view.default:  # what is put in its place may lie otherwise in memory
            node.target = aten.reshape.default
        rule = _RULES.get(node.target)
        found = rule(graph, node) if rule else None
        if found is not None:
            node.replace_all_uses_with(found)
            graph.graph.erase_node(node)
    for node in reversed(list(graph.graph.nodes)):  # views that a write made needless
        if node.op == "call_function" and not node.users and not node.is_impure():
            graph.graph.erase_node(node)


def _batch_norm(graph: GraphModule, node: Node) -> Node | None:
    """The first of what the decomposed one gives, as `batch_norm`."""
    source, place = arguments(node)
    if source.target is not _LEGIT or place != 0:
        return None
    data, gamma, beta, mean, variance, momentum, epsilon = arguments(source)
    given = (data, gamma, beta, mean, variance, False, momentum, epsilon, False)
    return insert(graph, aten.batch_norm.default, given, before=node, like=source)


def _copy(graph: GraphModule, node: Node) -> Node:
    whole, found = arguments(node)[:2]
    into, source = whole.meta["val"], found.meta["val"]
    if source.dtype is not into.dtype:
        found = insert(graph, aten.to.dtype, (found, into.dtype), before=node, like=node)
    if tuple(source.shape) != tuple(into.shape):
        found = _like(graph, found, whole, node)
    answer: Node = found
    return answer


def _like(graph: GraphModule, source: Node, wanted: Any, node: Node) -> Node:
    """`source`, expanded to the shape of `wanted`."""
    sizes = [
        size if static(size) else insert(graph, aten.sym_size.int, (wanted, axis), before=node, like=node)
        for axis, size in enumerate(wanted.meta["val"].shape)
    ]
    return insert(graph, aten.expand.default, (source, sizes), before=node, like=node)


def _slice_scatter(graph: GraphModule, node: Node) -> Node | None:
    whole, source, axis, start, end, step = (*arguments(node), *(None,) * 6)[:6]
    axis = (axis or 0) % whole.meta["val"].ndim
    return _joined(graph, node, whole, source, axis, 0 if start is None else start, end, 1 if step is None else step)


def _select_scatter(graph: GraphModule, node: Node) -> Node | None:
    whole, source, axis, index = arguments(node)
    axis %= whole.meta["val"].ndim
    if not static(index) or not static(whole.meta["val"].shape[axis]):
        return None
    index %= whole.meta["val"].shape[axis]
    row = insert(graph, aten.unsqueeze.default, (source, axis), before=node, like=node)
    return _joined(graph, node, whole, row, axis, index, index + 1, 1)


def _joined(
    graph: GraphModule, node: Node, whole: Node, source: Node, axis: int, start: Any, end: Any, step: Any
) -> Node | None:
    """`whole` with `source` at the places start, start + step, … before end of an axis, as slices side by side."""
    size = whole.meta["val"].shape[axis]
    if not all(static(one) for one in (size, start, step)) or not (end is None or static(end)):
        return None
    places = range(size)[slice(start, end, step)]
    if len(places) == size:
        return source
    if _reads_the_same(whole, source, axis, places):
        return whole

    def part(of: Any, first: int, last: int) -> Node:
        return insert(graph, aten.slice.Tensor, (of, axis, first, last), before=node, like=node)

    if step == 1:
        first, last = places.start, places.stop
        parts = [part(whole, 0, first)] if first else []
        parts += [source, *([part(whole, last, _END)] if last < size else [])]
        return insert(graph, aten.cat.default, (parts, axis), before=node, like=node)
    both = insert(graph, aten.cat.default, ([whole, source], axis), before=node, like=node)
    order = torch.arange(size)
    order[torch.tensor(list(places))] = torch.arange(len(places)) + size
    index = store(graph, "order", order, before=node)
    return insert(graph, aten.index_select.default, (both, axis, index), before=node, like=node)


def _reads_the_same(whole: Node, source: Node, axis: int, places: range) -> bool:
    """Whether what is written was read at the very place: the second half of `z[:, 1] += 1`."""
    if source.target is aten.unsqueeze.default and source.args[1] == axis and len(places) == 1:
        read = arguments(source)[0]
        return read.target is aten.select.int and read.args == (whole, axis, places[0])
    if source.target is not aten.slice.Tensor or source.args[0] is not whole:
        return False
    given = arguments(source)[1:]
    along, start, end, step = given + (0, None, None, 1)[len(given) :]
    ends = [one for one in (start, end, step) if one is not None]
    if along != axis or not all(static(one) for one in ends):
        return False
    return bool(range(whole.meta["val"].shape[axis])[slice(start, end, step)] == places)


def _index_put(graph: GraphModule, node: Node) -> Node | None:
    """Values where a mask holds."""
    whole, indices, source, *accumulate = arguments(node)
    mask = indices[0]
    if any(accumulate) or len(indices) != 1 or mask.meta["val"].dtype is not torch.bool:
        return None
    if source.target is aten.index.Tensor and source.args[1] == [mask]:
        source = source.args[0]
        if tuple(source.meta["val"].shape) != tuple(whole.meta["val"].shape):
            return None
    elif source.meta["val"].ndim > 0:
        return None
    for axis in range(mask.meta["val"].ndim, whole.meta["val"].ndim):
        mask = insert(graph, aten.unsqueeze.default, (mask, axis), before=node, like=node)
    return insert(graph, aten.where.self, (mask, source, whole), before=node, like=node)


_RULES: dict[Any, Any] = {
    operator.getitem: _batch_norm,
    aten.copy.default: _copy,
    aten.slice_scatter.default: _slice_scatter,
    aten.select_scatter.default: _select_scatter,
    aten.index_put.default: _index_put,
}
