"""Words for an `onnx_ir` graph, which the rewrites share."""

from collections.abc import Iterator
from typing import Any

import onnx_ir as ir

from paring.core.target import Array

QUANTIZE, DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"


def constant(value: Any) -> Array | None:
    """The numbers of a stored value; None for one that is computed."""
    if value is None or not value.is_initializer() or value.const_value is None:
        return None
    stored: Array = value.const_value.numpy()
    return stored


def store(graph: Any, name: str, array: Array) -> Any:
    """A new stored value of that name, or one like it where the name is taken."""
    while name in graph.initializers:
        name += "_"
    value = ir.Value(name=name, const_value=ir.tensor(array, name=name))
    value.type, value.shape = ir.TensorType(value.const_value.dtype), ir.Shape(array.shape)
    graph.register_initializer(value)
    return value


def nodes(graph: Any, *kinds: str) -> Iterator[Any]:
    """The operators of these kinds, in the order of the graph, while it is being changed."""
    return iter([node for node in graph if node.op_type in kinds])


def only_user(node: Any) -> Any:
    """The operator that alone takes the first output of `node`; None if there are more, or the graph gives it."""
    users = [user for user, _ in node.outputs[0].uses()]
    return users[0] if len(users) == 1 and not node.outputs[0].is_graph_output() else None


def remove(graph: Any, node: Any, value: Any) -> None:
    """Takes a node out; whoever used its output uses `value`."""
    ir.convenience.replace_all_uses_with(node.outputs[0], value, replace_graph_outputs=True)
    graph.remove(node, safe=True)
