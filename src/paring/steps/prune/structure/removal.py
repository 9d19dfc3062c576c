"""Which blocks go: one after the other, until a budget is met."""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, kl_div, log_softmax

from paring.core.errors import ParingError
from paring.core.model import Event, Model
from paring.core.step import Context
from paring.core.task import Batch
from paring.measure import cost
from paring.steps import goal, shapes
from paring.steps.prune.structure import residual
from paring.train.forward import forward
from paring.train.loop import derived_seed

_BATCH = 32
_IMAGE = 4  # dimensions of a tensor with channels on axis 1
Importance = Literal["answers", "influence", "random"]


@dataclass(frozen=True)
class Budget:
    """When enough is gone.

    Attributes:
        count: blocks that go; None where the cost counts.
        cost: of what is left: multiply–accumulates, or ms on the target.
        before: cost of the whole network.
        most: that it may be.
        unit: of the cost, for people.
    """

    count: int | None
    cost: Callable[[nn.Module], float]
    before: float
    most: float
    unit: str

    def met(self, module: nn.Module, gone: int) -> bool:
        """Whether what is left is little enough."""
        return gone >= self.count if self.count is not None else self.cost(module) <= self.most

    def told(self, module: nn.Module) -> str:
        """What a network costs, for people."""
        now = self.cost(module)
        return f"{now:.4g} of {self.before:.4g} {self.unit} ({now / self.before:.3f})"


def budget(
    model: Model, count: int | None, share: float | None, latency: str | None, context: Context, where: str
) -> Budget:
    """The budget of one of the three: blocks that go, the share of multiply–accumulates that stays, latency.

    Raises:
        ParingError: latency cannot be measured, because there is no target.
    """
    limit = goal.limit(latency, None, where)
    if limit is None:

        def counted(left: nn.Module) -> float:
            return cost.macs(replace(model, module=left)) / 1e6

        whole = counted(model.module)
        return Budget(count, counted, whole, (share or 0.0) * whole, "M multiply–accumulates")

    def measured(left: nn.Module) -> float:
        cut = shapes.cut(model, left, Event(where, {}, "measured"))  # without invariants of what is gone
        return goal.measured(cut, context.deployed, where).latency_ms

    before = goal.measured(model, context.deployed, where).latency_ms
    return Budget(None, measured, before, limit.value * (before if limit.relative else 1.0), limit.unit)


class Removal:
    """Takes blocks out of a copy of a model; of each class and list one stays (`residual.is_last`).

    Args:
        model: untouched.
        blocks: names of those that may go.
        importance: how they are ranked.
        samples: of the calibration split that tell it.
        context: of the step.
        where: the step, for errors.

    Raises:
        ParingError: the calibration split is empty.
    """

    def __init__(
        self, model: Model, blocks: Sequence[str], importance: Importance, samples: int, context: Context, where: str
    ) -> None:
        self._model, self._context, self._where = model, context, where
        self._module = copy.deepcopy(model.module)
        self._left = list(blocks)
        samples = min(samples, context.task.size("calibration"))
        if not samples:
            raise ParingError("the calibration split is empty", where, "give the data set more training samples")
        self._batches: list[Batch] = list(context.task.batches("calibration", _BATCH, limit=samples))
        self._before = self._answers()
        match importance:
            case "answers":
                self._rank: Mapping[str, float] | None = None
            case "influence":
                self._rank = self._influence()
            case "random":
                chance = torch.Generator().manual_seed(derived_seed(context.seed, where))
                self._rank = dict(zip(blocks, torch.rand(len(blocks), generator=chance).tolist(), strict=True))

    def run(self, budget: Budget) -> tuple[list[str], float]:
        """Names of the blocks that go, in that order; and how far the answers moved.

        Raises:
            ParingError: the budget asks for more than can go.
        """
        gone: list[str] = []
        saved = self._saved(budget)
        self._refuse(budget, saved)
        moved = 0.0
        while not budget.met(self._module, len(gone)):
            free = [name for name in self._left if not residual.is_last(self._module, name)]
            if not free:
                raise self._short(budget, len(gone), self._module)
            if self._rank is None:
                distance = self._distances(free)
                name = min(free, key=lambda name: (distance[name] - moved) / saved[name])
                moved = distance[name]
            else:
                name = min(free, key=self._rank.__getitem__)
            residual.remove(self._module, name)
            self._left.remove(name)
            gone.append(name)
        return gone, self._distance()

    def _saved(self, budget: Budget) -> dict[str, float]:
        """What each block costs, those that are alike measured once; 1 for each where they are only counted."""
        saved: dict[str, float] = {}
        known: dict[tuple[Any, ...], float] = {}
        for name in self._left:
            if budget.count is not None:
                saved[name] = 1.0
                continue
            sizes = [tuple(one.shape) for one in self._module.get_submodule(name).parameters()]
            with residual.without(self._module, name):
                alike = (*sizes, cost.macs(replace(self._model, module=self._module)))
                if alike not in known:
                    known[alike] = budget.before - budget.cost(self._module)
            saved[name] = max(known[alike], 1e-6 * budget.before)
        return saved

    def _refuse(self, budget: Budget, saved: Mapping[str, float]) -> None:
        """Raises ParingError if the budget is not met without all that can go."""
        least = copy.deepcopy(self._module)
        gone = 0
        for name in sorted(saved, key=saved.__getitem__, reverse=True):
            if not residual.is_last(least, name):
                residual.remove(least, name)
                gone += 1
        if (budget.count or 0) > gone or not budget.met(least, gone):
            raise self._short(budget, gone, least)

    def _short(self, budget: Budget, gone: int, least: nn.Module) -> ParingError:
        if budget.count is not None:
            found = f"{budget.count} blocks are to go, {gone} can"
            remedy = f"count: {gone} or less" if gone else "choose other layers, or none"
        else:
            found = f"without all {gone} blocks that can go {budget.told(least)} are left, {budget.most:.4g} may be"
            remedy = "a larger budget, or prune.channels besides"
        return ParingError(f"{found} (one of each list and class stays)", self._where, remedy)

    def _distances(self, blocks: Sequence[str]) -> dict[str, float]:
        """How far the answers are from the first ones without each of the blocks."""
        found = {}
        with self._context.progress.bar("blocks", len(blocks)) as advance:
            for name in blocks:
                with residual.without(self._module, name):
                    found[name] = self._distance()
                advance(1, name)
        return found

    def _answers(self) -> Tensor:
        """The first output for all samples, float32, batch first."""
        name = self._model.outputs[0].name
        with torch.inference_mode():
            answers = [forward(self._model, self._module, batch.inputs)[name] for batch in self._batches]
        return torch.cat(answers)

    def _distance(self) -> float:
        """How far the answers are from the first ones: KL divergence in nats, or squared relative distance."""
        answers = self._answers()
        if self._context.task.labels:
            one, other = (log_softmax(tensor, -1) for tensor in (answers, self._before))
            return float(kl_div(one, other, reduction="sum", log_target=True) / len(answers))
        return float((answers - self._before).square().sum() / self._before.square().sum())

    def _influence(self) -> dict[str, float]:
        """1 − the mean cosine between what each block takes and gives, over pixels or tokens."""
        sums, runs = dict.fromkeys(self._left, 0.0), dict.fromkeys(self._left, 0)

        def watch(name: str, given: object, answer: object) -> None:
            taken, found = residual.tensor_of(given), residual.tensor_of(answer)
            if taken is not None and found is not None:
                cosine = cosine_similarity(taken, found, dim=1 if taken.ndim == _IMAGE else -1)
                sums[name] += float(1 - cosine.mean()) * len(taken)
                runs[name] += len(taken)

        with residual.watching(self._module, tuple(self._left), watch):
            self._answers()
        return {name: sums[name] / max(runs[name], 1) for name in self._left}
