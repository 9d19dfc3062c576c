"""A network of which only chosen layers round: what each layer costs, alone and among the others."""

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.fx import GraphModule

from paring.core.quiet import quiet
from paring.steps.quantize import graph

Inputs = tuple[Tensor, ...]


class Partial:
    """A prepared graph with its scales fixed, where each layer rounds its weight and its output, or does not.

    Args:
        prepared: with known scales everywhere; untouched.
    """

    def __init__(self, prepared: GraphModule) -> None:
        from copy import deepcopy

        with quiet():  # torch warns of its own calls when it copies a graph
            self.module = deepcopy(prepared)
        self._weights = {one.name: one for one in graph.weighted(self.module) if one.observer is not None}
        weights = {one.observer for one in self._weights.values()}
        self._by_layer: dict[str, list[Rounding]] = {}
        for name, layer in graph.layer_of_observers(self.module).items():
            rounding = Rounding(self.module.get_submodule(name), name in weights)
            setattr(self.module, name, rounding)
            self._by_layer.setdefault(layer, []).append(rounding)

    @property
    def layers(self) -> tuple[str, ...]:
        """Those with a weight that rounds, in the order of execution."""
        return tuple(self._weights)

    def weight(self, layer: str) -> tuple[int, int]:
        """How many numbers the weight of a layer holds, and how many scales it has."""
        one = self._weights[layer]
        scales = self.module.get_submodule(str(one.observer)).scale
        return self.module.get_parameter(one.weight).numel(), scales.numel()  # type: ignore[operator]

    def weighted(self, layer: str) -> graph.Weighted:
        """Where in `module` a layer with a weight lies."""
        return self._weights[layer]

    def output_rounding(self, layer: str) -> "Rounding | None":
        """What rounds the output of a layer; None where nothing does."""
        return next((one for one in self._by_layer.get(layer, ()) if not one.weight), None)

    def rounding(self, layers: Callable[[str], bool]) -> Callable[[Inputs], Tensor]:
        """The network with those layers rounding; `the input` is a layer too. Answers with its first output."""
        for layer, roundings in self._by_layer.items():
            for one in roundings:
                one.active = layers(layer)

        def answer(inputs: Inputs) -> Tensor:
            with torch.inference_mode():
                found = self.module(*inputs)
            first: Tensor = found[0] if isinstance(found, tuple | list) else found
            return first

        return answer

    def outputs(self, inputs: Inputs, layers: Callable[[str], bool] = lambda layer: False) -> dict[str, Tensor]:
        """Layer -> what it gives before it would round, in a network where those layers round."""
        seen: dict[str, Tensor] = {}

        def note(layer: str) -> Callable[[nn.Module, Inputs], None]:
            return lambda module, given: seen.update({layer: given[0]})

        hooks = [
            one.register_forward_pre_hook(note(layer))
            for layer, roundings in self._by_layer.items()
            for one in roundings
            if not one.weight
        ]
        try:
            self.rounding(layers)(inputs)
        finally:
            for hook in hooks:
                hook.remove()
        return seen


def noise(
    network: Partial, rounding: Callable[[str], bool], wanted: Sequence[Tensor], batches: Sequence[Inputs]
) -> float:
    """Energy of the error in the answers when those layers round, as a share of the energy of the answers."""
    answer = network.rounding(rounding)
    signal = sum(float(one.double().square().sum()) for one in wanted)
    error = sum(
        float((one.double() - answer(inputs).double()).square().sum())
        for one, inputs in zip(wanted, batches, strict=True)
    )
    return error / max(signal, 1e-300)


def alone(
    network: Partial, layers: Iterable[str], batches: Sequence[Inputs], advance: Callable[[], None] = lambda: None
) -> dict[str, float]:
    """Layer -> the noise when it alone rounds; `advance` is called after each."""
    wanted = unrounded(network, batches)
    found = {}
    for layer in layers:
        found[layer] = noise(network, {layer}.__contains__, wanted, batches)
        advance()
    return found


def without(
    network: Partial, layers: Iterable[str], batches: Sequence[Inputs], advance: Callable[[], None] = lambda: None
) -> dict[str, float]:
    """Layer -> the noise when every layer but this one rounds; `advance` is called after each."""
    wanted = unrounded(network, batches)
    found = {}
    for layer in layers:
        found[layer] = noise(network, lambda name, layer=layer: name != layer, wanted, batches)  # type: ignore[misc]
        advance()
    return found


def unrounded(network: Partial, batches: Sequence[Inputs]) -> list[Tensor]:
    """The answers in float."""
    return [network.rounding(lambda layer: False)(inputs) for inputs in batches]


class Rounding(nn.Module):
    """dequantize(quantize(x)) where it is active, else x.

    Attributes:
        weight: whether it rounds a weight.
        scale: float32, one for the tensor or one for each channel.
        zero_point: int32, likewise.
        low: smallest code.
        high: largest code.
        axis: of the channels; None where one scale holds for the tensor.
        active: whether it rounds.
    """

    def __init__(self, known: nn.Module, weight: bool) -> None:
        super().__init__()
        self.weight = weight
        scale, zero_point = known.calculate_qparams()  # type: ignore[operator]
        self.scale, self.zero_point = scale.detach().float().reshape(-1), zero_point.detach().int().reshape(-1)
        self.low, self.high = int(known.quant_min), int(known.quant_max)  # type: ignore[arg-type]
        axis = getattr(known, "ch_axis", None)
        self.axis = axis if isinstance(axis, int) and axis >= 0 and self.scale.numel() > 1 else None
        self.active = False

    def forward(self, x: Tensor) -> Tensor:
        """The same shape."""
        return self.rounded(x) if self.active else x

    def rounded(self, x: Tensor) -> Tensor:
        """dequantize(quantize(x))."""
        if self.axis is None:
            scale, zero_point = float(self.scale), int(self.zero_point)
            return torch.fake_quantize_per_tensor_affine(x, scale, zero_point, self.low, self.high)
        return torch.fake_quantize_per_channel_affine(x, self.scale, self.zero_point, self.axis, self.low, self.high)
