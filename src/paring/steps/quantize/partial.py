"""A network of which only chosen layers round: what each layer costs, alone and among the others."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

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
        self._by_layer: dict[str, list[_Rounding]] = {}
        for name, layer in graph.layer_of_observers(self.module).items():
            rounding = _Rounding(self.module.get_submodule(name))
            setattr(self.module, name, rounding)
            self._by_layer.setdefault(layer, []).append(rounding)
        self.layers = tuple(one.name for one in graph.weighted(self.module) if one.observer is not None)

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


@dataclass(frozen=True, slots=True)
class LayerLoss:
    """What rounding one layer costs.

    Attributes:
        layer: its name.
        alone: SQNR of the network's answers when only this layer rounds, dB.
        without: SQNR when every layer but this one rounds, dB.
    """

    layer: str
    alone: float
    without: float


def losses(partial: Partial, batches: Sequence[Inputs], advance: Callable[[], None] = lambda: None) -> list[LayerLoss]:
    """What each layer with a weight costs; the one whose return to float would gain most comes first.

    Args:
        partial: the network.
        batches: samples to judge by.
        advance: called after each layer.
    """
    wanted = [partial.rounding(lambda layer: False)(inputs) for inputs in batches]
    found = []
    for name in partial.layers:
        alone = _sqnr(wanted, map(partial.rounding(lambda layer, name=name: layer == name), batches))  # type: ignore[misc]
        others = _sqnr(wanted, map(partial.rounding(lambda layer, name=name: layer != name), batches))  # type: ignore[misc]
        found.append(LayerLoss(name, alone, others))
        advance()
    return sorted(found, key=lambda one: -one.without)


def sqnr(partial: Partial, batches: Sequence[Inputs]) -> float:
    """SQNR of the answers when every layer rounds, dB."""
    wanted = [partial.rounding(lambda layer: False)(inputs) for inputs in batches]
    return _sqnr(wanted, map(partial.rounding(lambda layer: True), batches))


class _Rounding(nn.Module):
    """dequantize(quantize(x)) where it is active, else x."""

    def __init__(self, known: nn.Module) -> None:
        super().__init__()
        scale, zero_point = known.calculate_qparams()  # type: ignore[operator]
        self.scale, self.zero_point = scale.detach().float().reshape(-1), zero_point.detach().int().reshape(-1)
        self.low, self.high = int(known.quant_min), int(known.quant_max)  # type: ignore[arg-type]
        axis = getattr(known, "ch_axis", None)
        self.axis = axis if isinstance(axis, int) and axis >= 0 and self.scale.numel() > 1 else None
        self.active = False

    def forward(self, x: Tensor) -> Tensor:
        """The same shape."""
        if not self.active:
            return x
        if self.axis is None:
            scale, zero_point = float(self.scale), int(self.zero_point)
            return torch.fake_quantize_per_tensor_affine(x, scale, zero_point, self.low, self.high)
        return torch.fake_quantize_per_channel_affine(x, self.scale, self.zero_point, self.axis, self.low, self.high)


def _sqnr(wanted: Sequence[Tensor], found: Iterable[Tensor]) -> float:
    signal = noise = 0.0
    for one, other in zip(wanted, found, strict=True):
        signal += float(one.double().square().sum())
        noise += float((one.double() - other.double()).square().sum())
    return float(10 * torch.tensor(max(signal, 1e-300) / max(noise, 1e-300), dtype=torch.float64).log10())
