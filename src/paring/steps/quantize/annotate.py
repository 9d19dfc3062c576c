"""Where in a graph numbers become int8: one set of rules, for every runtime.

The rules follow what the int8 kernels of the runtimes do (Jacob et al. 2018, arXiv:1712.05877, section 2.4): a
convolution is quantized after its fused activation; operators that only move values, or pick among them, pass the scale
of their input on; softmax, sigmoid and tanh have a fixed output scale. What no rule names stays in float, and is
returned with the reason.
"""

import operator
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import inf
from typing import Any

import torch
from torch.fx import GraphModule, Node

from paring.core.model import Skipped
from paring.steps.quantize.masks import masks, shuts_out
from paring.steps.quantize.pt2e import (
    Q_ANNOTATION_KEY,
    FixedQParamsQuantizationSpec,
    QuantizationAnnotation,
    QuantizationSpec,
    Quantizer,
    SharedQuantizationSpec,
)
from paring.steps.select import Choosable

aten = torch.ops.aten

# operator -> axis of its weight's output channels
WEIGHTED = {
    aten.conv1d.default: 0,
    aten.conv2d.default: 0,
    aten.conv2d.padding: 0,
    aten.linear.default: 0,
    aten.conv_transpose1d.default: 1,
    aten.conv_transpose2d.input: 1,
}
# activations that a kernel applies to its int32 sum, so that the sum itself is never rounded to int8
FUSED = {aten.relu.default, aten.relu_.default, aten.hardtanh.default, aten.hardtanh_.default, aten.relu6.default}
COMPUTED = {
    aten.add.Tensor,
    aten.add_.Tensor,
    aten.sub.Tensor,
    aten.mul.Tensor,
    aten.mul_.Tensor,
    aten.mean.dim,
    aten.adaptive_avg_pool2d.default,
    aten.hardswish.default,
    aten.hardswish_.default,
    aten.leaky_relu.default,
    aten.leaky_relu_.default,
    aten.gelu.default,
    aten.abs.default,
    aten.exp.default,
    *FUSED,
}
MOVED = {
    aten.view.default,
    aten.reshape.default,
    aten.flatten.using_ints,
    aten.permute.default,
    aten.transpose.int,
    aten.squeeze.dim,
    aten.squeeze.dims,
    aten.unsqueeze.default,
    aten.contiguous.default,
    aten.clone.default,
    aten.dropout.default,
    aten.slice.Tensor,
    aten.select.int,
    aten.pad.default,
    aten.constant_pad_nd.default,
    aten.max_pool2d.default,
    aten.avg_pool2d.default,
    aten.upsample_nearest2d.vec,
    aten.upsample_bilinear2d.vec,
    aten.flip.default,
    aten.amax.default,
    aten.amin.default,
    aten.clamp.default,
    aten.clamp_min.default,
    aten.clamp_max.default,
}
MASKING = {aten.add.Tensor, aten.add_.Tensor, aten.sub.Tensor, aten.where.self}
JOINED = {aten.cat.default}
PICKED = {aten.maximum.default, aten.minimum.default}  # of several, which kernels want in one scale
# operator -> (scale, zero point) of its int8 output, which the runtimes' kernels require; in int16 it is 1/32768, 0
FIXED = {
    aten.sigmoid.default: (1 / 256, -128),
    aten.softmax.int: (1 / 256, -128),
    aten._softmax.default: (1 / 256, -128),
    aten.tanh.default: (1 / 128, 0),
}


@dataclass(frozen=True)
class Specs:
    """How one layer is quantized.

    Attributes:
        activation: of its inputs and its output.
        weight: axis of the output channels -> of its weight.
    """

    activation: QuantizationSpec
    weight: Callable[[int], QuantizationSpec]


class Annotator(Quantizer):  # type: ignore[misc]  # torchao is untyped
    """Marks every tensor that becomes an integer; `skipped` names what stays in float, and why.

    Args:
        specs: name of a layer -> how it is quantized, None where the recipe keeps it in float.
    """

    def __init__(self, specs: Callable[[str], Specs | None]) -> None:
        super().__init__()
        self.specs = specs
        self.skipped: list[Skipped] = []
        self.layers: list[str] = []
        self.apart: frozenset[str] = frozenset()

    def keep_apart(self, nodes: Iterable[str]) -> None:
        """From now on leaves these nodes in float, as their ranges differ too much for one scale; begins anew."""
        self.apart = frozenset(nodes)
        self.skipped.clear()
        self.layers.clear()

    def annotate(self, model: GraphModule) -> GraphModule:
        """Puts an annotation on every node that a rule names."""
        found = masks(model)
        masked = set(found)  # and what has a mask added to it
        for node in model.graph.nodes:
            if node.op != "call_function" or not _is_float(node) or node in found:
                continue
            name = layer_of(node)
            specs = self.specs(name)
            if masked.intersection(node.all_input_nodes) or shuts_out(node):
                self.skipped.append(Skipped(name, f"{node.target} of a mask, whose numbers are too large for codes"))
                if node.target in MASKING | MOVED or shuts_out(node):
                    masked.add(node)
            elif node.name in self.apart:
                self.skipped.append(Skipped(name, f"{node.target} of ranges that differ too much for one scale"))
            elif specs is None:
                self.skipped.append(Skipped(name, "kept in float, as the recipe asks"))
            else:
                self._annotate(node, name, specs)
        return model

    def validate(self, model: GraphModule) -> None:
        """Nothing to check: rules that do not apply leave a node in float."""

    def _annotate(self, node: Node, name: str, specs: Specs) -> None:
        act = specs.activation
        target: Any = node.target
        if target in WEIGHTED:
            data, weight = node.all_input_nodes[0], node.all_input_nodes[1]
            if not _is_parameter(weight):
                self.skipped.append(Skipped(name, "its weight is computed by the network, not stored"))
                return
            axis = WEIGHTED[target]
            if axis == 1 and _groups(node) > 1:  # its output channels lie on two axes
                self.skipped.append(Skipped(name, "a transposed convolution in groups has no int8 rule"))
                return
            inputs = {data: act, weight: specs.weight(axis)}
            _mark(node, inputs, None if fused_activation(node) else act)
            self.layers.append(name)
        elif target in FUSED and (source := _source(node)) is not None and fused_activation(source) is node:
            # what its layer computes with, as the sum that it follows is no tensor of its own
            of_sum = self.specs(layer_of(source)) if Q_ANNOTATION_KEY in source.meta else None
            _mark(node, {}, of_sum and of_sum.activation)
        elif target in COMPUTED:
            inputs = {n: act for n in node.all_input_nodes if _is_float(n)}
            _mark(node, inputs, None if fused_activation(node) else act)
        elif target in MOVED and (source := _source(node)) is not None:
            if _quantized_output(source):
                shared = SharedQuantizationSpec(source)
                _mark(node, {source: shared}, shared)
            elif source.op == "placeholder":
                _mark(node, {source: act}, SharedQuantizationSpec((source, node)))
        elif target in JOINED | PICKED:
            first, *others = dict.fromkeys(node.all_input_nodes)
            shared = SharedQuantizationSpec((first, node))
            _mark(node, {first: act, **dict.fromkeys(others, shared)}, shared)
        elif target in FIXED:
            wide = act.dtype == torch.int16
            scale, zero_point = (2.0**-15, 0) if wide else FIXED[target]
            limits = torch.iinfo(act.dtype)
            fixed = FixedQParamsQuantizationSpec(
                dtype=act.dtype, scale=scale, zero_point=zero_point, quant_min=limits.min, quant_max=limits.max,
                qscheme=torch.per_tensor_affine,
            )  # fmt: skip
            _mark(node, {n: act for n in node.all_input_nodes if _is_float(n)}, fixed)
        else:
            computed = node.all_input_nodes[0] if target is operator.getitem else node  # which gives several
            self.skipped.append(Skipped(name, f"{computed.target} has no int8 rule"))


def choosable(graph: GraphModule) -> list[Choosable]:
    """The layers of a graph that a recipe can name, in the order of execution.

    Kinds: `conv`, `depthwise`, `linear` for layers with weights, `first` and `last` of these, `layer` for any other.
    """
    kinds: dict[str, set[str]] = {}
    weighted = []
    for node in graph.graph.nodes:
        if node.op != "call_function" or not _is_float(node):
            continue
        known = kinds.setdefault(layer_of(node), set())
        if node.target in WEIGHTED:
            known.add(kind_of(node))
            weighted.append(known)
    if weighted:
        weighted[0].add("first")
        weighted[-1].add("last")
    return [Choosable(name, frozenset(found or {"layer"})) for name, found in kinds.items()]


def kind_of(node: Node) -> str:
    """`conv`, `depthwise` or `linear`, of an operator with a weight."""
    if node.target is aten.linear.default:
        return "linear"
    source = node.all_input_nodes[0]
    if "val" not in source.meta:  # an observer
        source = source.all_input_nodes[0]
    channels = source.meta["val"].shape[1]
    groups = node.args[6] if len(node.args) > 6 else 1
    return "depthwise" if groups == channels > 1 else "conv"


def layer_of(node: Node) -> str:
    """The name of the module that a node was traced from, e.g. `blocks.3.body.0`; the node's own if none is known."""
    stack = node.meta.get("nn_module_stack") or {}
    names = [path for path, _ in stack.values() if path]
    return names[-1].removeprefix("L['self'].") if names else str(node.name)


def fused_activation(node: Node) -> Node | None:
    """The activation that the kernel of `node` applies itself: its only user, a ReLU or a ReLU6."""
    users = list(node.users)
    fusing = node.target in WEIGHTED or node.target in {aten.add.Tensor, aten.add_.Tensor}
    return users[0] if fusing and len(users) == 1 and users[0].target in FUSED else None


def bounds(node: Node) -> tuple[float, float]:
    """Between which values a fused activation clips: (0, inf) for a ReLU."""
    name = str(node.target)
    if "hardtanh" in name:
        given: Any = (*node.args[1:], *(-1.0, 1.0)[len(node.args) - 1 :])
        return float(given[0]), float(given[1])
    return 0.0, 6.0 if "relu6" in name else inf


def _mark(node: Node, inputs: dict[Node, Any], output: Any) -> None:
    node.meta[Q_ANNOTATION_KEY] = QuantizationAnnotation(input_qspec_map=inputs, output_qspec=output, _annotated=True)


def _source(node: Node) -> Node | None:
    return node.all_input_nodes[0] if node.all_input_nodes else None


def _quantized_output(node: Node) -> bool:
    annotation = node.meta.get(Q_ANNOTATION_KEY)
    return annotation is not None and annotation.output_qspec is not None


def _is_float(node: Node) -> bool:
    value = node.meta.get("val")
    return isinstance(value, torch.Tensor) and value.is_floating_point()


def _is_parameter(node: Node) -> bool:
    return node.op == "get_attr"


def _groups(node: Node) -> int:
    """Of a transposed convolution."""
    place = [argument.name for argument in node.target._schema.arguments].index("groups")  # type: ignore[union-attr]
    found: Any = node.args[place] if len(node.args) > place else node.kwargs.get("groups", 1)
    return int(found)
