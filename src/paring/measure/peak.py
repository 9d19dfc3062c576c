"""The least memory that activations need: a lower bound on paper, from the operators in the order in which they run.

An operator's inputs and its output exist at the same time. A view takes no memory of its own, and what works element by
element (activations, batch norms, sums) writes over an input that nobody reads any more, as a good planner would have
it. A real runtime needs this much or more: it has buffers of its own besides, and aligns them.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import fx
from torch.export import ExportedProgram

# beside operators that torch marks as views or as pointwise: what is one in a graph that only runs inference
_VIEWS = {
    "alias", "clone", "contiguous", "detach", "dropout", "flatten", "getitem", "identity", "lift_fresh_copy", "reshape",
}  # fmt: skip
_POINTWISE = {"batch_norm"}
_WIDEST_INTEGER = 4  # bytes: what is int64 in torch is int32 on devices


@dataclass(frozen=True, slots=True)
class Peak:
    """Where activations need most.

    Attributes:
        bytes: of all of them that exist there.
        node: the operator that runs then.
    """

    bytes: int
    node: fx.Node


@dataclass(slots=True)
class _Buffer:
    bytes: int
    first: int
    last: int


def peak(program: ExportedProgram, width: int) -> Peak:
    """The largest sum of activations that exist at one point.

    Args:
        program: for one sample, as `torch.export` traces it.
        width: bytes of a value that is a float in torch: 4 for float32, 1 for int8.
    """
    nodes = list(program.graph.nodes)
    position = {node: number for number, node in enumerate(nodes)}
    given = set(program.graph_signature.user_inputs)
    held: dict[fx.Node, list[_Buffer]] = {}
    buffers: list[_Buffer] = []
    for number, node in enumerate(nodes):
        read = [buffer for source in node.all_input_nodes for buffer in held[source]]
        needed = _bytes(node, width)
        called = node.op == "call_function"
        if called and _is_pointwise(node):
            free = next((buffer for buffer in read if buffer.last <= number and buffer.bytes >= needed), None)
        else:
            free = None
        if free is not None:
            held[node] = [free]
        elif (called and (_is_view(node) or not read)) or node.op in ("get_attr", "output"):
            held[node] = read  # nothing where it is made of constants alone
        elif called or node.name in given:
            held[node] = [_Buffer(needed, number, number)]
            buffers += held[node]
        else:
            held[node] = []  # a weight
        for buffer in held[node]:
            buffer.last = max(buffer.last, number, *(position[user] for user in node.users))
    changes = [0] * (len(nodes) + 1)
    for buffer in buffers:
        changes[buffer.first] += buffer.bytes
        changes[buffer.last + 1] -= buffer.bytes
    totals = list(accumulate(changes[:-1]))
    most = max(range(len(nodes)), key=totals.__getitem__)
    return Peak(totals[most], nodes[most])


def _is_view(node: fx.Node) -> bool:
    return bool(getattr(node.target, "is_view", False)) or _name(node) in _VIEWS


def _is_pointwise(node: fx.Node) -> bool:
    tags = getattr(node.target, "tags", ())
    return torch.Tag.pointwise in tags or _name(node) in _POINTWISE or "quantize" in _name(node)


def _name(node: fx.Node) -> str:
    """`conv2d` of `aten.conv2d.default`."""
    return str(getattr(node.target, "__name__", node.target)).partition(".")[0]


def _bytes(node: fx.Node, width: int) -> int:
    """Of what a node gives; of several tensors, of those that somebody takes."""
    value = node.meta.get("val")
    if isinstance(value, tuple | list):
        return sum(_bytes(user, width) for user in node.users if _name(user) == "getitem" and user.users)
    if not isinstance(value, torch.Tensor):
        return 0
    return value.numel() * (width if value.is_floating_point() else min(value.element_size(), _WIDEST_INTEGER))
