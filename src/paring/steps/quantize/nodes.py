"""Operators and stored tensors put into a graph, each knowing its shape and the layer that it belongs to."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses import FakeTensorMode
from torch.fx import GraphModule, Node
from torch.fx.node import map_arg

_TOLD = ("nn_module_stack", "stack_trace", "source_fn_stack", "torch_fn")


def insert(module: GraphModule, target: Any, args: Sequence[Any], *, before: Node, like: Node) -> Node:
    """A call of an operator, put before a node; it belongs to the layer of `like`."""
    with module.graph.inserting_before(before):
        node: Node = module.graph.call_function(target, tuple(args))
    node.meta = {key: like.meta[key] for key in _TOLD if key in like.meta}
    values = map_arg(node.args, lambda one: value(module, one))
    with fake_mode(module):
        node.meta["val"] = target(*values)
    return node


def store(module: GraphModule, path: str, tensor: Tensor, *, before: Node) -> Node:
    """A tensor of the graph's own, under a path that is free, or `path` with a number; put before a node.

    It is a parameter where it is one, else a buffer.
    """
    owner, _, last = path.rpartition(".")
    part, free, number = module.get_submodule(owner), last, 0
    while hasattr(part, free):
        number += 1
        free = f"{last}_{number}"
    if isinstance(tensor, nn.Parameter):
        part.register_parameter(free, tensor)
    else:
        part.register_buffer(free, tensor)
    with module.graph.inserting_before(before):
        node: Node = module.graph.get_attr(f"{owner}.{free}" if owner else free)
    node.meta["val"] = value(module, node)
    return node


def assign(module: GraphModule, path: str, tensor: Tensor | None) -> None:
    """Puts another tensor under the path of a parameter or a buffer."""
    owner, _, last = path.rpartition(".")
    setattr(module.get_submodule(owner), last, tensor)


def arguments(node: Node) -> tuple[Any, ...]:
    """What an operator is called with, without names."""
    return tuple(node.args)


def value(module: GraphModule, node: Node) -> Any:
    """What a node gives, without its numbers."""
    if node.op == "get_attr":
        found: Any = attribute(module, node)
        return fake_mode(module).from_tensor(found, static_shapes=True) if isinstance(found, Tensor) else found
    return node.meta["val"]


def attribute(module: GraphModule, node: Any) -> Any:
    """What a `get_attr` node stands for."""
    found: Any = module
    for part in str(node.target).split("."):
        found = getattr(found, part)
    return found


def fake_mode(module: GraphModule) -> FakeTensorMode:
    """The mode in which the graph's values were traced."""
    for node in module.graph.nodes:
        mode = getattr(node.meta.get("val"), "fake_mode", None)
        if mode is not None:
            found: FakeTensorMode = mode
            return found
    return FakeTensorMode(allow_non_fake_inputs=True)


def static(size: Any) -> bool:
    """Whether a size is a number and not free."""
    return isinstance(size, int) and not isinstance(size, torch.SymInt)
