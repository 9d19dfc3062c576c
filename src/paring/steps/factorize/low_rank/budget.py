"""A budget of the network, spread over its layers: the ranks whose losses, as measured, have the least sum.

Each layer alone is taken apart at a few of its ranks, and the answers are compared with those of the whole network, as
pruning scans its widths (`paring.steps.losses`). Which layer then gets which rank is a multiple-choice knapsack, solved
exactly (`paring.steps.assign`); costs add up exactly, as the factors of a layer are all its own.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Literal

import numpy as np
from torch import nn

from paring.core.errors import ParingError
from paring.core.model import Model
from paring.core.step import Context
from paring.measure import cost
from paring.steps import effort
from paring.steps.assign import assign
from paring.steps.factorize.low_rank.candidates import Candidate
from paring.steps.factorize.low_rank.split import NoFactors, Ranks
from paring.steps.losses import Losses, curve

Measure = Literal["macs", "parameters"]
_MOST = 32  # ranks that a layer chooses from
_TRIED = 4  # of them, for the scan
SCANNED = (256, 8)  # calibration samples, at most and at least


class Spread:
    """Finds ranks within limits.

    Args:
        model: whole.
        layers: name -> layer with a ladder of ranks.
        factors: builds the chain of a layer's factors; raises NoFactors.
        context: of the step.
        samples: calibration samples of the scan; None for as many as end in good time.
        where: the step, for errors.
    """

    def __init__(
        self, model: Model, layers: Mapping[str, Candidate], factors: Callable[[str, Ranks], nn.Module],
        context: Context, samples: int | None, where: str,
    ) -> None:  # fmt: skip
        self._model, self._layers, self._factors, self._context = model, layers, factors, context
        self._samples, self._where = samples, where
        self._ladders = {name: _thinned(layer.ladder) for name, layer in layers.items()}

    def ban(self, name: str, ranks: Ranks, *, above: bool) -> None:
        """Takes a choice off a layer's ladder; with `above` all higher ones, too."""
        ladder = self._ladders[name]
        place = ladder.index(ranks)
        self._ladders[name] = ladder[:place] if above else ladder[:place] + ladder[place + 1 :]

    def whole(self, measure: Measure) -> float:
        """What the network costs."""
        return float(cost.macs(self._model) if measure == "macs" else cost.parameters(self._model))

    def least(self, measure: Measure) -> float:
        """What it costs at the cheapest choice of each layer."""
        return self._rest(measure) + sum(min(self._costs(name, measure)) for name in self._layers)

    def within(self, measure: Measure, limit: float) -> dict[str, Ranks]:
        """The ranks of least loss; layers that stay whole are not among them.

        Raises:
            ParingError: no choice is within the limit.
        """
        if (least := self.least(measure)) > limit:
            whole = self.whole(measure)
            raise ParingError(
                f"the lowest ranks come to {100 * least / whole:.1f} % of the {measure}, the budget is "
                f"{100 * limit / whole:.1f} %: {least / limit:.2f} times as much",
                f"{self._where}: {measure}",
                "raise the budget, lower round_to, or loosen only, keep and slower",
            )
        names = list(self._layers)
        choices = [[*self._ladders[name], None] for name in names]
        losses = [[*(self._curves[name][ranks] for ranks in self._ladders[name]), 0.0] for name in names]
        found = assign(losses, [self._costs(name, measure) for name in names], limit - self._rest(measure))
        picked = zip(names, choices, found, strict=True)
        return {name: ranks for name, row, place in picked if (ranks := row[place]) is not None}

    def _costs(self, name: str, measure: Measure) -> list[float]:
        """Of each choice of a layer; the last is the whole."""
        layer = self._layers[name]
        every = [*(layer.cost(ranks) for ranks in self._ladders[name]), layer.whole]
        return [float(getattr(one, measure)) for one in every]

    def _rest(self, measure: Measure) -> float:
        return self.whole(measure) - sum(self._costs(name, measure)[-1] for name in self._layers)

    @cached_property
    def _curves(self) -> dict[str, dict[Ranks, float]]:
        """Layer -> ranks -> what the answers lose, interpolated where it was not tried or could not be taken apart."""
        plan = [(name, ranks) for name, ladder in self._ladders.items() for ranks in _few(ladder)]
        macs = float(cost.macs(self._model))
        samples = effort.samples(effort.SCAN, macs, len(plan), SCANNED[1], SCANNED[0])
        losses = Losses(self._model, self._context.task, self._samples or samples, effort.batch(macs))
        module = copy.deepcopy(self._model.module)
        points: dict[str, dict[int, float]] = {
            name: {layer.whole.parameters: 0.0} for name, layer in self._layers.items()
        }
        with self._context.progress.bar("sensitivity", len(plan)) as advance:
            for name, ranks in plan:
                own = module.get_submodule(name)
                try:
                    module.set_submodule(name, copy.deepcopy(self._factors(name, ranks)))
                    points[name][self._layers[name].cost(ranks).parameters] = losses(module)
                except NoFactors:
                    pass  # chosen all the same, it is tried again, told of and banned
                finally:
                    module.set_submodule(name, own)
                advance(1, name)
        return {name: self._curve(name, points[name]) for name in self._layers}

    def _curve(self, name: str, points: Mapping[int, float]) -> dict[Ranks, float]:
        ladder = self._ladders[name]
        sizes = [*(self._layers[name].cost(ranks).parameters for ranks in ladder), self._layers[name].whole.parameters]
        return dict(zip(ladder, np.asarray(curve(points, sizes)).tolist(), strict=False))


def _thinned(ladder: Sequence[Ranks]) -> list[Ranks]:
    """A few of very many, the highest among them."""
    return list(ladder[:: -(-len(ladder) // _MOST) * -1][::-1]) if ladder else []


def _few(ladder: Sequence[Ranks]) -> list[Ranks]:
    return [ladder[place] for place in sorted({round(one) for one in np.linspace(0, len(ladder) - 1, _TRIED)})]
