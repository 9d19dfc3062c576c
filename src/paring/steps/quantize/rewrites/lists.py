"""What gives several tensors: each reader gets what it reads, by an operator that gives this alone."""

import operator
from typing import Any

from torch.fx import Node

from paring.steps.quantize.rewrites.place import Place, Rule, aten, fixed, shape


def _pieces(here: Place, x: Node, *rest: Any, dim: int = 0, **_: Any) -> None:
    axis = (rest[1] if len(rest) > 1 else dim) % len(shape(x))
    sizes, readers = [part.shape[axis] for part in here.node.meta["val"]], _readers(here.node)
    if readers is None or not fixed(sizes):
        return
    for reader, place in readers:
        start = sum(sizes[:place])
        with here.graph.graph.inserting_before(reader):
            piece = here.before(reader).call(aten.slice.Tensor, x, axis, start, start + sizes[place])
        reader.replace_all_uses_with(piece)


def _unbound(here: Place, x: Node, dim: int = 0) -> None:
    for reader, place in _readers(here.node) or ():
        with here.graph.graph.inserting_before(reader):
            piece = here.before(reader).call(aten.select.int, x, dim, place)
        reader.replace_all_uses_with(piece)


def _readers(node: Node) -> list[tuple[Node, int]] | None:
    """Who reads a tensor of a list, and which; None where something else reads the list."""
    if any(reader.target is not operator.getitem for reader in node.users):
        return None
    count = len(node.meta["val"])
    return [(reader, int(reader.args[1]) % count) for reader in node.users]  # type: ignore[arg-type]


def first_of(target: Any) -> Rule:
    """`target` in the place of what gives more besides, where nobody reads that."""

    def rule(here: Place, *args: Any, **options: Any) -> None:
        readers = first_readers(here.node)
        if readers is not None:
            found = here.call(target, *args, **options)
            for reader in readers:
                reader.replace_all_uses_with(found)

    return rule


def first_readers(node: Node) -> list[Node] | None:
    """Who reads the first of what a node gives; None where anyone reads another."""
    readers = [reader for reader in node.users if reader.users]
    fits = all(reader.target is operator.getitem and reader.args[1] == 0 for reader in readers)
    return readers if fits else None


def _reduced(target: Any) -> Rule:
    return lambda here, x, dim, keepdim=False: first_of(target)(here, x, [dim], keepdim)


RULES: dict[object, Rule] = {
    **dict.fromkeys(
        (
            aten.chunk.default, aten.split.Tensor, aten.split.sizes, aten.split_with_sizes.default,
            aten.unsafe_split.Tensor, aten.unsafe_chunk.default, aten.tensor_split.sections,
        ),
        _pieces,
    ),
    aten.unbind.int: _unbound,
    aten.max_pool2d_with_indices.default: first_of(aten.max_pool2d.default),
    aten.max.dim: _reduced(aten.amax.default),
    aten.min.dim: _reduced(aten.amin.default),
}  # fmt: skip
