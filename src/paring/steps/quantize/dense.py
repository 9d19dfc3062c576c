"""One scale for the whole weight of a dense layer, where a scale per channel costs memory and gains nothing.

A runtime may keep numbers for each channel that has a scale of its own in memory while the network runs. One scale for
all channels is coarser. What that loses is won back by rounding column after column and letting the columns that are
still to come make up for each error, by what the calibration samples say of the inputs: Frantar et al. 2022, "GPTQ:
Accurate Post-Training Quantization for Generative Pre-trained Transformers", arXiv:2210.17323, section 3.3.

A layer is judged on every second sample, with the codes that the other samples give. It takes one scale if the error
of its sums, in energy, grows by no more than that of half a step of the codes that the sums become: less than
rounding to these codes moves a value at the most.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from paring.core.model import Model
from paring.core.step import Context
from paring.steps.quantize import graph
from paring.steps.quantize.annotate import fused_activation
from paring.steps.quantize.calibrate import fed
from paring.steps.quantize.graph import Weighted, weighted
from paring.steps.quantize.observers import KnownScales, of_tensor
from paring.steps.quantize.repairs.walk import Execution
from paring.steps.quantize.scheme import Scheme

LOST = 0.5  # of a step of the sums' codes, root mean square: what one scale may add to the error of the sums
DAMPING = 1.0  # of the mean energy of an input: added to each, so that few samples do not lead astray
WIDEST = 2048  # inputs: energies of pairs of more would take long to factorize for the few bytes that their layers gain
_BATCH = 32
aten = torch.ops.aten


@dataclass
class _Inputs:
    """Energies of pairs of inputs, summed over samples: those that codes are found by, and those they are judged by.

    Attributes:
        found: (inputs, inputs).
        judged: likewise.
        rows: how many were summed for `judged`.
    """

    found: Tensor
    judged: Tensor
    rows: int = 0

    def add(self, x: Tensor) -> None:
        """Every second sample of a batch to each."""
        first, second = (x[start::2].flatten(0, -2).double() for start in (0, 1))
        self.found += first.T @ first
        self.judged += second.T @ second
        self.rows += len(second)


def share(
    prepared: GraphModule, scheme: Scheme, kinds: Collection[str], method: Literal["minmax", "mse"], model: Model,
    samples: int, context: Context, where: str, *, rounded: bool = True,
) -> tuple[Scheme, str]:  # fmt: skip
    """Gives dense layers one scale each where that loses nothing.

    Args:
        prepared: with all its scales known; weights and their scales are changed in place.
        scheme: that it was prepared with.
        kinds: of the layers whose scales per channel cost memory; of these, `linear` is dealt with.
        method: how ranges of weights are found.
        model: that the step was given.
        samples: of the calibration split, at the most.
        context: of the step.
        where: name of the step.
        rounded: whether weights are put on their grid, which is better left to a repair that learns their rounding.

    Returns:
        The scheme, with a granularity for these layers; and what to tell the user.
    """
    layers = _candidates(prepared, scheme) if "linear" in kinds else []
    if not layers:
        return scheme, ""
    seen = _seen(prepared, layers, model, samples, context, where)
    shared = []
    for layer in layers:
        inputs, step = seen[layer.name], _step(prepared, layer.node)
        if step is None or not inputs.rows:
            continue
        weight = prepared.get_parameter(layer.weight)
        known: Any = prepared.get_submodule(str(layer.observer))
        one = of_tensor(method)
        one(weight)
        scale, zero_point = one.calculate_qparams()
        ours = _error(compensated(weight, inputs.found, float(scale)) - weight, inputs)
        if ours - _error(known.rounded(weight) - weight, inputs) > (LOST * step) ** 2:
            continue
        setattr(prepared, str(layer.observer), KnownScales(one, scale, zero_point))
        if rounded:
            with torch.no_grad():
                weight.copy_(compensated(weight, inputs.found + inputs.judged, float(scale)))
        shared.append(layer.name)
    if not shared:
        return scheme, ""
    precisions = {name: scheme.of(name).model_copy(update={"granularity": "tensor"}) for name in shared}
    told = f"; one scale for the weight of {len(shared)} of {len(layers)} dense layers, which saves memory"
    return scheme.with_layers(precisions), told


def compensated(weight: Tensor, energies: Tensor, scale: float) -> Tensor:
    """A weight on the grid of one scale, each column making up for the errors of those before it; zeros stay.

    Args:
        weight: (outputs, inputs).
        energies: of pairs of inputs, summed over samples: (inputs, inputs), float64.
        scale: of the weight; codes reach from −127 to 127.
    """
    energy = energies.diagonal()
    order = energy.argsort(descending=True, stable=True)
    damped = energies + torch.eye(len(energies), dtype=torch.double) * (DAMPING * energy.mean()).clamp_min(1e-30)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(damped[order][:, order]))
    upper = torch.linalg.cholesky(inverse, upper=True)
    left = weight.detach().double()[:, order]
    zero = left == 0  # a step may have pruned it
    codes = torch.zeros_like(left)
    for column in range(len(order)):
        codes[:, column] = (left[:, column] / scale).round_().clamp_(-127, 127).masked_fill_(zero[:, column], 0.0)
        error = (left[:, column] - codes[:, column] * scale) / upper[column, column]
        left[:, column:] -= error[:, None] * upper[column, column:]
    return (codes * scale)[:, order.argsort()].to(weight.dtype)


def _candidates(prepared: GraphModule, scheme: Scheme) -> list[Weighted]:
    """Dense layers of eight bits whose scales the recipe leaves open, and whose weight nothing else reads."""
    tensors = dict(prepared.named_parameters(remove_duplicate=False))
    # a stored tensor -> who reads it, under whichever name, an observer's readers in its place
    readers = [
        id(tensors[str(node.target)])
        for node in prepared.graph.nodes
        if node.op == "get_attr" and str(node.target) in tensors
        for user in node.users
        for _ in (user.users if graph.observes(user) else (user,))
    ]
    layers = weighted(prepared)
    names = [one.name for one in layers]
    found = []
    for layer in layers:
        weight = prepared.get_parameter(layer.weight)
        known = None if layer.observer is None else prepared.get_submodule(layer.observer)
        if (
            layer.node.target is aten.linear.default
            and isinstance(known, KnownScales)
            and known.per_channel
            and scheme.of(layer.name).weights == "int8"
            and scheme.of(layer.name).granularity is None
            and weight.shape[1] <= WIDEST
            and readers.count(id(weight)) == names.count(layer.name) == 1
        ):
            found.append(layer)
    return found


def _seen(
    prepared: GraphModule, layers: list[Weighted], model: Model, samples: int, context: Context, where: str
) -> dict[str, _Inputs]:
    """What the layers are given in the quantized network."""
    left = {layer.node: layer for layer in layers}
    found = {}
    for layer in layers:
        width = prepared.get_parameter(layer.weight).shape[1]
        found[layer.name] = _Inputs(*torch.zeros(2, width, width, dtype=torch.double))
    with context.progress.bar("judge dense layers", samples) as advance:
        for batch in context.task.batches("calibration", _BATCH, limit=samples):
            run = Execution(prepared, [fed(model, batch, where)])
            for node, layer in left.items():
                run.before(node)
                source: Any = node.args[0]
                found[layer.name].add(run.value(source)[0])
            advance(len(batch.targets), "")
    return found


def _step(prepared: GraphModule, node: Node) -> float | None:
    """Between two codes of what a layer's sums become; None where they stay in float."""
    last = fused_activation(node) or node
    for user in last.users:
        if graph.observes(user):
            known: Any = prepared.get_submodule(str(user.target))
            return float(known.calculate_qparams()[0])
    return None


def _error(difference: Tensor, inputs: _Inputs) -> float:
    """Mean energy of the error of a layer's sums, of what differs in its weight."""
    apart = difference.detach().double()
    return float(((apart @ inputs.judged) * apart).sum() / (inputs.rows * len(apart)))
