"""A prepared graph that can be trained: every observer becomes a quantizer, every layer keeps its batch norm alive.

Batch norm multiplies each output channel of a weight W with a = γ/σ. Rounding W with the step s and rounding W·a with
the step s·|a| give the same codes, so while the statistics are alive the layer rounds W, and batch norm follows in the
usual way, at no cost. Once they are frozen, and in evaluation, the layer computes as its file will: W·a rounded, with
the folded bias (Jacob et al. 2018, arXiv:1712.05877, section 3.2, equation 14).
"""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.fx import Graph, GraphModule, Node

from paring.core.errors import ParingError
from paring.steps.quantize import graph
from paring.steps.quantize.aware.lsq import LearnedActivation, LearnedWeight
from paring.steps.quantize.aware.plain import ExtremeWeight, MovingActivation
from paring.steps.quantize.aware.rounding import Activation, Fixed, Weight, rounded_weight
from paring.steps.quantize.nodes import attribute
from paring.steps.quantize.norms import taken
from paring.steps.quantize.observers import KnownScales
from paring.steps.quantize.pt2e import FixedQParamsObserver

Method = Literal["plain", "lsq"]
ACTIVATIONS: dict[str, type[MovingActivation] | type[LearnedActivation]]
ACTIVATIONS = {"plain": MovingActivation, "lsq": LearnedActivation}
WEIGHTS: dict[str, type[ExtremeWeight] | type[LearnedWeight]] = {"plain": ExtremeWeight, "lsq": LearnedWeight}


@dataclass(frozen=True)
class Norm:
    """Batch norm behind a layer, and that layer as it was before folding; tensors of the model, never written.

    Attributes:
        node: its name in the graph.
        weight: of the layer.
        bias: of the layer, if it has one.
        gamma: factor of each channel, if learned.
        beta: offset of each channel, if learned.
        mean: running mean of each channel.
        variance: running variance of each channel.
        momentum: share of a batch in the running statistics.
        epsilon: added to the variance.
    """

    node: str
    weight: Tensor
    bias: Tensor | None
    gamma: Tensor | None
    beta: Tensor | None
    mean: Tensor
    variance: Tensor
    momentum: float
    epsilon: float


def norms(captured: GraphModule) -> dict[str, Norm]:
    """Path of a layer's weight -> the batch norm that it alone takes up, of a graph that is not folded yet.

    Of two norms in a row neither is kept alive.
    """

    def tensor(node: Node | None) -> Any:
        return None if node is None else attribute(captured, node)

    found: dict[str, Norm] = {}
    for node in captured.graph.nodes:
        if taken(node) != [node] or any(after.target is node.target for after in node.users):
            continue
        _, gamma, beta, mean, variance, _, momentum, epsilon, *_ = node.args
        _, weight, *bias = node.args[0].args
        found[str(weight.target)] = Norm(
            node.name, tensor(weight), tensor(bias[0] if bias else None), tensor(gamma), tensor(beta),
            tensor(mean), tensor(variance), momentum, epsilon,
        )  # fmt: skip
    return found


class Layer(nn.Module):
    """A convolution or linear layer that rounds its weight, with its batch norm.

    Args:
        node: the operator in the prepared graph.
        axis: of the weight's output channels.
        weight: before batch norm is folded in.
        bias: likewise; None where it has none.
        norm: batch norm behind it; None where it has none.

    Attributes:
        rounding: of its weight; None where the layer stays in float.
        alive: whether batch norm takes the statistics of the batch in training.
    """

    gamma: nn.Parameter
    beta: nn.Parameter
    mean: Tensor
    variance: Tensor

    def __init__(self, node: Node, axis: int, weight: Tensor, bias: Tensor | None, norm: Norm | None) -> None:
        super().__init__()
        self.operator: Any = node.target
        self.rest, self.options = tuple(node.args[3:]), dict(node.kwargs)
        self.weight: nn.Parameter = _own(weight)
        self.bias: Tensor | None = _own(bias)
        self.rounding: Weight | None = None
        self.shape = [-1 if place == axis else 1 for place in range(weight.ndim)]
        self.alive, self.has_norm = norm is not None, norm is not None
        if norm is not None:
            channels = torch.ones_like(norm.mean)
            self.gamma = _own(channels if norm.gamma is None else norm.gamma)
            self.beta = _own(0 * channels if norm.beta is None else norm.beta)
            self.register_buffer("mean", norm.mean.detach().clone())
            self.register_buffer("variance", norm.variance.detach().clone())
            self.momentum, self.epsilon = norm.momentum, norm.epsilon

    def factor(self) -> Tensor:
        """What batch norm multiplies each channel with, by its running statistics; shaped to multiply the weight."""
        if not self.has_norm:
            return self.weight.new_ones(()).reshape([1] * self.weight.ndim)
        factor: Tensor = self.gamma * (self.variance + self.epsilon).rsqrt()
        return factor.reshape(self.shape)

    def folded(self) -> tuple[Tensor, Tensor, Tensor | None]:
        """(weight, rounded; its scales, in a shape that multiplies it; bias) with batch norm folded in."""
        factor = self.factor()
        weight, bias = self.weight * factor, self.bias
        if self.has_norm:
            shift = self.mean if bias is None else self.mean - bias
            bias = self.beta - shift * factor.flatten()
        if self.rounding is None:
            return weight, weight, bias
        scale = self.rounding.scale(weight, factor)
        return rounded_weight(weight, scale, self.rounding.high), scale, bias

    def forward(self, x: Tensor) -> Tensor:
        """What the layer and its batch norm give."""
        if not (self.training and self.alive):
            weight, _, bias = self.folded()
            return self._apply_to(x, weight, bias)
        weight = self.weight
        if self.rounding is not None:
            factor = self.factor().detach()
            scale = self.rounding.scale(weight.detach() * factor, factor) / factor.abs().clamp_min(1e-30)
            weight = rounded_weight(weight, scale, self.rounding.high)
        return nn.functional.batch_norm(
            self._apply_to(x, weight, self.bias), self.mean, self.variance, self.gamma, self.beta,
            training=True, momentum=self.momentum, eps=self.epsilon,
        )  # fmt: skip

    def _apply_to(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        answer: Tensor = self.operator(x, weight, bias, *self.rest, **self.options)
        return answer


def trainable(prepared: GraphModule, norms: dict[str, Norm], method: Method, learned: frozenset[str]) -> GraphModule:
    """A network that computes as the prepared graph will once converted, and that `fit` can train.

    Args:
        prepared: with calibrated observers, or known scales; untouched.
        norms: as `norms` gave them before folding.
        method: how scales move.
        learned: paths of the parameters that are to be trained.

    Raises:
        ParingError: two layers share a weight.
    """
    remaining = {node.name for node in prepared.graph.nodes}  # batch norms that folding left where they are
    layers = {one.node: one for one in graph.weighted(prepared)}
    parts: dict[str, Any] = {}
    quantizers: dict[Any, Activation] = {}  # one observer may stand under several names
    new, copied = Graph(), dict[Node, Node]()
    for node in prepared.graph.nodes:
        if node in layers:
            found = layers[node]
            if found.weight in parts:
                raise ParingError(
                    "two layers share one weight, which cannot have two scales", found.name, "give each its own weight"
                )
            norm = norms.get(found.weight)
            norm = None if norm is None or norm.node in remaining else norm
            parts[found.weight] = _layer(prepared, found, norm, method, learned)
            copied[node] = new.call_module(found.weight, (copied[node.args[0]],))
        elif graph.observes(node):
            observer: Any = prepared.get_submodule(str(node.target))
            if any(one.observer == node.target for one in layers.values()):
                continue
            if observer not in quantizers:
                quantizers[observer] = _activation(observer, method)
            parts[str(node.target)] = quantizers[observer]
            copied[node] = new.node_copy(node, copied.__getitem__)
        elif node.op != "call_module":  # the one that is left guards sizes
            copied[node] = new.node_copy(node, copied.__getitem__)
    for node in reversed(new.nodes):
        if node.op == "get_attr" and not node.users:  # of a layer, which has its own
            new.erase_node(node)
        elif node.op == "get_attr":
            tensor = attribute(prepared, node)
            stored = isinstance(tensor, nn.Parameter)
            parts[str(node.target)] = _own(tensor, str(node.target) in learned) if stored else tensor.clone()
    return GraphModule(parts, new).eval()


def freeze(network: nn.Module) -> None:
    """Ends the life of batch statistics and of moving ranges."""
    for part in network.modules():
        if isinstance(part, Layer):
            part.alive = False
        elif isinstance(part, MovingActivation):
            part.moving = False


def put_back(network: nn.Module, prepared: GraphModule) -> None:
    """Writes what was learned into the prepared graph: weights as they are rounded, biases, and known scales."""
    with torch.no_grad():
        for found in graph.weighted(prepared):
            weight, scale, bias = network.get_submodule(found.weight).folded()  # type: ignore[operator]
            prepared.get_parameter(found.weight).copy_(weight)
            if found.bias is not None:
                prepared.get_parameter(found.bias).copy_(bias)
            if found.observer is not None:
                known: Any = prepared.get_submodule(found.observer)
                _, zero_point = known.calculate_qparams()
                scales = scale.flatten().clone()
                setattr(prepared, found.observer, KnownScales(known, scales, zero_point))
        stored = dict(prepared.named_parameters())
        for name, parameter in network.named_parameters():
            if name in stored:
                stored[name].copy_(parameter)
    known_of: dict[Activation, KnownScales] = {}  # one may stand under several names
    for name, part in network.named_modules(remove_duplicate=False):
        if isinstance(part, Activation):
            if part not in known_of:
                scale, zero_point = (one.detach().reshape(1) for one in part.grid())
                known_of[part] = KnownScales(prepared.get_submodule(name), scale.clone(), zero_point.int())
            setattr(prepared, name, known_of[part])


def _layer(
    prepared: GraphModule, found: graph.Weighted, norm: Norm | None, method: Method, learned: frozenset[str]
) -> Layer:
    def stored(path: str | None) -> Any:
        return None if path is None else _own(prepared.get_parameter(path), path in learned)

    weight, bias = (norm.weight, norm.bias) if norm else (stored(found.weight), stored(found.bias))
    layer = Layer(found.node, found.axis, weight, bias, norm)
    if found.observer is not None:
        known: Any = prepared.get_submodule(found.observer)
        scale = known.calculate_qparams()[0]
        scale = scale.reshape(layer.shape if scale.numel() > 1 else [1] * layer.weight.ndim)
        layer.rounding = WEIGHTS[method](scale, layer.factor(), layer.weight.numel(), known.quant_max)
    return layer


def _activation(observer: Any, method: Method) -> Activation:
    scale, zero_point = observer.calculate_qparams()
    if isinstance(observer, FixedQParamsObserver):
        return Fixed(scale, zero_point, observer.quant_min, observer.quant_max)
    symmetric = observer.qscheme is torch.per_tensor_symmetric
    return ACTIVATIONS[method](scale, zero_point, observer.quant_min, observer.quant_max, symmetric=symmetric)


def _own(tensor: Tensor | None, learned: bool | None = None) -> Any:
    if tensor is None:
        return None
    return nn.Parameter(tensor.detach().clone(), tensor.requires_grad if learned is None else learned)
