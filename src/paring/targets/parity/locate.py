"""The first operator after which a file's values are not those of the graph that it was made from.

The graph is cut behind one of its operators, the cut graph is exported and run, and so on by halves between the last
operator that is right and the first that is wrong. One cut a file: a second output would keep the converter from
joining operators, and with that from its fault.
"""

import copy
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Any

import torch
from torch.fx import GraphModule, Node
from torch.fx.graph import CodeGen

from paring.core.errors import ParingError
from paring.core.model import Model, TensorSpec
from paring.core.quiet import quiet
from paring.core.target import Array, ExportOptions, Target
from paring.targets import parity
from paring.targets.parity import compare, isolated, reference
from paring.targets.traced import layer_of, samples
from paring.train.simulate import decomposed

_SECONDS = 90.0  # after which the search ends with what it knows
_QUANTIZE = {decomposed.quantize_per_tensor.default, decomposed.quantize_per_channel.default}
_DEQUANTIZE = {decomposed.dequantize_per_tensor.default, decomposed.dequantize_per_channel.default}


def first(target: Target, model: Model, options: ExportOptions, inputs: Mapping[str, Array]) -> str:
    """The layer and the operator that is first to differ, as part of a sentence; less where that cannot be found."""
    try:
        return _first(target, model, options, inputs)
    except Exception:  # the search runs on what is known to be faulty, and only helps the message
        return str(model.source)


def _first(target: Target, model: Model, options: ExportOptions, inputs: Mapping[str, Array]) -> str:
    graph = _graph(model)
    whole = replace(model, module=graph)
    if not model.quantized:
        sound = compare.float_difference(reference.answers(whole, inputs), reference.answers(model, inputs)) is None
        if not sound:
            return f"{model.source} (the graph that torch.export makes of it answers otherwise already)"
    wrong: Node | None = None
    left, end = _computed(graph), monotonic() + _SECONDS
    while left and monotonic() < end:
        node = left[len(left) // 2]
        if _differs(target, whole, node, options, inputs):
            wrong = node
            left = [one for one in left if one in _before(node)]
        else:
            right = _before(node) | {node}
            left = [one for one in left if one not in right]
    if wrong is None:
        return f"{model.source} (each operator alone is right)"
    found = _operator(wrong)
    return f"{layer_of(found.meta)} ({found.target})"


def _graph(model: Model) -> GraphModule:
    if isinstance(model.module, GraphModule):
        with quiet():
            return copy.deepcopy(model.module)
    with quiet():
        found: GraphModule = torch.export.export(model.module, samples(model.inputs), strict=False).module()
    return found


def _computed(graph: GraphModule) -> list[Node]:
    """What gives floats that depend on the inputs, in the order of execution."""
    fed: set[Node] = set()
    found = []
    for node in graph.graph.nodes:
        if node.op == "placeholder" or any(one in fed for one in node.all_input_nodes):
            fed.add(node)
            value = node.meta.get("val")
            floats = isinstance(value, torch.Tensor) and value.is_floating_point() and value.ndim > 0
            if node.op == "call_function" and floats and node.target not in _QUANTIZE and not _rounded_next(node):
                found.append(node)
    return found


def _rounded_next(node: Node) -> bool:
    """Whether what reads it are its own integers alone: it is they that a file holds."""
    return bool(node.users) and all(user.target in _QUANTIZE for user in node.users)


def _operator(node: Node) -> Node:
    """What computes the value that a node gives: of integers turned back, what was rounded to them."""
    while node.target in _DEQUANTIZE | _QUANTIZE and isinstance(node.args[0], Node):
        node = node.args[0]
    return node


def _before(node: Node) -> set[Node]:
    seen: set[Node] = set()
    waiting = list(node.all_input_nodes)
    while waiting:
        one = waiting.pop()
        if one not in seen:
            seen.add(one)
            waiting += one.all_input_nodes
    return seen


def _differs(target: Target, model: Model, node: Node, options: ExportOptions, inputs: Mapping[str, Array]) -> bool:
    """Whether a file that ends with this operator gives other values; or cannot be made or run."""
    cut = _cut(model, node)
    with TemporaryDirectory(prefix="paring-parity-") as folder, parity.watched(off=True):
        path = Path(folder) / f"cut{target.suffix}"
        try:
            target.export(cut, path, options)
            found = isolated.run(target, "open", path, inputs)
        except (ParingError, isolated.Crashed):
            return True
    wanted = reference.answers(cut, inputs)
    if parity.rounds(model):
        return bool(compare.quantized_differences(found, wanted, reference.steps(cut)))
    return compare.float_difference(found, wanted) is not None


def _cut(model: Model, node: Node) -> Model:
    """The model that ends with an operator."""
    module: Any = model.module
    with quiet():
        shorter = GraphModule(module, copy.deepcopy(module.graph))  # the tensors are shared
    (output,) = (one for one in shorter.graph.nodes if one.op == "output")
    output.args = (next(one for one in shorter.graph.nodes if one.name == node.name),)
    shorter.graph.set_codegen(CodeGen())
    shorter.graph.eliminate_dead_code()
    shorter.recompile()
    for inner in shorter.modules():
        inner.training = False
    outputs = (TensorSpec("cut", ("batch", *map(int, node.meta["val"].shape[1:])), "float32"),)
    left = {layer_of(one.meta) for one in shorter.graph.nodes}
    kept = tuple(one for one in model.invariants if one.kind != "scale" or one.layer in left)
    return replace(model, module=shorter, outputs=outputs, invariants=kept)
