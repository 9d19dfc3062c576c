"""What costs nothing to say of a network whose ranges are known: where its codes are few, or its file large."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch

from paring.steps.quantize import graph
from paring.steps.quantize.annotate import layer_of

if TYPE_CHECKING:
    from torch import Tensor
    from torch.fx import GraphModule, Node

_aten = torch.ops.aten
_FEW = 0.5  # share of the codes that an input should use at the least
_NAMED = 5  # classes that are named
_SOFTMAX = {_aten.softmax.int, _aten._softmax.default}
_PRODUCTS = {
    _aten.conv1d.default, _aten.conv2d.default, _aten.conv2d.padding, _aten.linear.default, _aten.matmul.default,
    _aten.mm.default, _aten.mv.default, _aten.mul.Tensor,
}  # fmt: skip
# what only moves values
_MOVES = {
    _aten.view.default, _aten.reshape.default, _aten._unsafe_view.default, _aten.transpose.int, _aten.permute.default,
    _aten.unsqueeze.default, _aten.squeeze.dim, _aten.contiguous.default, _aten.clone.default, _aten.flatten.using_ints,
}  # fmt: skip


def told(prepared: GraphModule, symmetric: bool) -> str:
    """Hints on a calibrated graph, each behind a semicolon; empty where there is nothing to say.

    Args:
        prepared: whose observers have seen the samples, and still hold their ends.
        symmetric: whether the user asked for zero points of 0, which leaves half of the codes to positive inputs.
    """
    found = [*(() if symmetric else _few_codes(prepared)), *_expectations(prepared), *_tied(prepared)]
    return "".join(f"; {one}" for one in found)


def unseen(labels: Sequence[str], targets: Sequence[Tensor]) -> str:
    """Which classes have no calibration sample; empty where all have one, or the targets are no classes.

    Args:
        labels: names of the classes.
        targets: of the samples, batch by batch.
    """
    if not labels or not all(one.ndim == 1 and one.dtype == torch.int64 for one in targets):
        return ""
    seen = {int(one) for one in torch.cat(list(targets)).tolist()}
    missing = [label for number, label in enumerate(labels) if number not in seen]
    if not missing:
        return ""
    more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
    return (
        f"{len(missing)} of {len(labels)} classes have no calibration sample ({', '.join(missing[:_NAMED])}{more}): "
        "their ranges are not known"
    )


def _few_codes(prepared: GraphModule) -> Iterator[str]:
    """Inputs far from 0, which every range must hold."""
    for node in prepared.graph.nodes:
        if not graph.observes(node) or node.args[0].op != "placeholder":
            continue
        observer: Any = prepared.get_submodule(str(node.target))
        ends: list[Any] = [getattr(observer, name, None) for name in ("min_val", "max_val")]
        if any(end is None or end.numel() != 1 for end in ends):
            continue
        low, high = map(float, ends)
        codes = observer.quant_max - observer.quant_min + 1
        used = (high - low) / float(observer.calculate_qparams()[0])
        if low < high and used < _FEW * codes:
            yield (
                f"the input {node.args[0].name} lies in {low:.4g} … {high:.4g} and uses {used:.1f} of {codes} codes, "
                "as a range holds 0: subtract its mean from the data, and put what this takes away into the bias of "
                "the first layer"
            )


def _expectations(prepared: GraphModule) -> Iterator[str]:
    """Mean values of distributions, as detectors find edges of boxes: steps of a softmax are coarse for them."""
    for node in prepared.graph.nodes:
        if node.target not in _SOFTMAX or not any(graph.observes(user) for user in node.users):
            continue
        for reader in _readers(node):
            others = [one for one in reader.all_input_nodes if one is not _came_by(reader, node)]
            if reader.target in _PRODUCTS and others and all(_stored(one) for one in others):
                layer = layer_of(reader)
                yield (
                    f"{layer} weighs the softmax {layer_of(node)} by stored numbers, for which 256 steps are coarse: "
                    f"keep_float: ['{layer}'] is more exact"
                )


def _tied(prepared: GraphModule) -> Iterator[str]:
    """Tables that are looked up in float and multiplied with as integers."""
    tables = {
        id(prepared.get_parameter(str(node.args[0].target))): layer_of(node)
        for node in prepared.graph.nodes
        if node.target is _aten.embedding.default and node.args[0].op == "get_attr" and _is_parameter(prepared, node)
    }
    for layer in graph.weighted(prepared):
        table = prepared.get_parameter(layer.weight)
        if layer.observer is not None and id(table) in tables:
            yield (
                f"{tables[id(table)]} and {layer.name} share one table, of which a file holds two: one in float "
                f"({4 * table.numel() / 1024:.0f} KiB) and one of integers"
            )


def _is_parameter(prepared: GraphModule, node: Node) -> bool:
    source: Any = node.args[0]
    return str(source.target) in dict(prepared.named_parameters(remove_duplicate=False))


def _readers(node: Node) -> Iterator[Node]:
    """What computes with a value, behind observers and what only moves it."""
    for user in node.users:
        if graph.observes(user) or user.target in _MOVES:
            yield from _readers(user)
        else:
            yield user


def _came_by(reader: Node, source: Node) -> Node | None:
    """The operand of a reader that holds what `source` gave."""
    for operand in reader.all_input_nodes:
        before: Any = operand
        while before is not source and (graph.observes(before) or before.target in _MOVES):
            before = before.args[0]
        if before is source:
            return operand
    return None


def _stored(node: Node) -> bool:
    """Whether an operand is stored, perhaps behind observers and moves."""
    before: Any = node
    while graph.observes(before) or before.target in _MOVES:
        before = before.args[0]
    return bool(before.op == "get_attr")
