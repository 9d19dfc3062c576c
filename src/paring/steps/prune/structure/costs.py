"""What a network costs as a function of its groups' widths, without cutting it.

A layer's multiply–accumulates and weights are products of its input and output channels, so a cut of both counts twice:
with w the widths, cost(w) = Σ cₜ · aₜ(w) · bₜ(w), where a and b are the shares of channels that stay at the two sides.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from torch import nn

from paring.core.model import Model
from paring.measure import cost
from paring.steps.prune.structure.carve import Side, one_input_each
from paring.steps.prune.structure.groups import Structure

Measure = Literal["macs", "parameters"]
Widths = Mapping[str, int]  # group -> units that stay
Place = tuple[str, Side]


class Costs:
    """Multiply–accumulates of one sample, or parameters.

    Args:
        model: uncut.
        structure: its groups.
        measure: which of the two.
    """

    def __init__(self, model: Model, structure: Structure, measure: Measure) -> None:
        self.groups = structure.groups
        places: dict[Place | None, int] = {None: 0}  # the first stands for what no cut changes
        terms: list[tuple[float, int, int]] = []
        every = _macs(model) if measure == "macs" else _parameters(model)
        for coefficient, *sides in every:
            found = [place if place in structure.sizes else None for place in sides]
            one, other = (places.setdefault(place, len(places)) for place in found)
            terms.append((coefficient, one, other))
        self.total = float(cost.macs(model) if measure == "macs" else cost.parameters(model))
        self._constant = self.total - sum(coefficient for coefficient, *_ in terms)
        self._coefficients = np.array([coefficient for coefficient, *_ in terms])
        self._one, self._other = (np.array([term[side] for term in terms], dtype=int) for side in (1, 2))
        self._shares = np.zeros((len(places), len(self.groups)))
        for column, group in enumerate(self.groups):
            for place, units in group.members.items():
                if place in places:
                    self._shares[places[place], column] = len(units[0]) / structure.sizes[place]
        self._units = np.array([group.units for group in self.groups])

    def of(self, widths: Widths) -> float:
        """The cost where the groups have these widths; a group that is not named is whole."""
        return float(self._value(self._stay(self._vector(widths))[None])[0])

    def alone(self, widths: Widths, choices: Sequence[Sequence[int]]) -> list[NDArray[np.float64]]:
        """For each group the costs where it alone takes each of its choices, the others being as `widths` says."""
        now = self._vector(widths)
        stay = self._stay(now)
        return [
            self._value(stay[None] + np.outer(np.array(choice) - now[column], self._shares[:, column]))
            for column, choice in enumerate(choices)
        ]

    def _vector(self, widths: Widths) -> NDArray[np.int64]:
        return np.array([widths.get(group.name, group.units) for group in self.groups], dtype=np.int64)

    def _stay(self, widths: NDArray[np.int64]) -> NDArray[np.float64]:
        share: NDArray[np.float64] = 1.0 - self._shares @ (self._units - widths)
        return share

    def _value(self, stay: NDArray[np.float64]) -> NDArray[np.float64]:
        value: NDArray[np.float64] = (stay[:, self._one] * stay[:, self._other]) @ self._coefficients + self._constant
        return value


def told(before: Model, after: Model) -> str:
    """What became of the costs, for people."""
    shares = [
        f"{name} {count(before):,} → {count(after):,} ({100 * count(after) / count(before):.1f} %)"
        for name, count in (("MACs", cost.macs), ("parameters", cost.parameters))
    ]
    return ", ".join(shares)


Term = tuple[float, Place | None, Place | None]


def _macs(model: Model) -> list[Term]:
    found: list[Term] = []
    for layer in cost.per_layer(model):
        if layer.macs:
            found += _products(layer.name, model.module.get_submodule(layer.name), layer.macs)
    return found


def _products(name: str, layer: nn.Module, amount: float) -> list[Term]:
    """What a layer multiplies, as products of its sides."""
    if isinstance(layer, nn.modules.conv._ConvNd) and one_input_each(layer):
        return [(amount, (name, "out"), None)]
    if isinstance(layer, nn.modules.conv._ConvNd | nn.Linear):
        return [(amount, (name, "in"), (name, "out"))]
    if isinstance(layer, nn.LSTM) and layer.num_layers == 1:
        recurrent = layer.hidden_size / (layer.hidden_size + layer.input_size)
        return [
            (amount * (1 - recurrent), (name, "in"), (name, "out")),
            (amount * recurrent, (name, "out"), (name, "out")),
        ]
    return []


def _parameters(model: Model) -> list[Term]:
    found: list[Term] = []
    seen: set[int] = set()
    for name, layer in model.module.named_modules():
        for kind, parameter in layer.named_parameters(recurse=False):
            if id(parameter) in seen:
                continue
            seen.add(id(parameter))
            amount = float(parameter.numel())
            whole = f"{name}.{kind}".lstrip(".")
            if isinstance(layer, nn.LSTM):
                side: Side = "in" if "_ih" in kind and "weight" in kind else "out"
                other = (name, side) if "weight" in kind else None
                found.append((amount, (name, "out"), other))
            elif kind == "weight" and (products := _products(name, layer, amount)):
                found += products
            elif isinstance(layer, nn.ParameterList) or parameter.ndim == 0:
                continue
            elif kind in ("weight", "bias"):
                found.append((amount, (name, "out"), None))
            else:
                found.append((amount, (whole, "out"), None))
    return found
