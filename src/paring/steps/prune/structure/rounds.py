"""From a budget to a smaller model: fade out, cut, mend, recover, in one round or several."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from paring.core.errors import ParingError
from paring.core.model import Event, Model, Skipped
from paring.core.step import Context
from paring.measure import cost
from paring.steps import effort, goal, shapes
from paring.steps.losses import Losses, curve
from paring.steps.prune.channels import ChannelsConfig, GrowingConfig
from paring.steps.prune.structure import growing, importance, scan, widths
from paring.steps.prune.structure.choices import choices
from paring.steps.prune.structure.compensate import Compensation
from paring.steps.prune.structure.costs import Costs, Measure, Widths
from paring.steps.prune.structure.groups import Structure
from paring.steps.prune.structure.kinds import chosen
from paring.steps.prune.structure.proof import prunable
from paring.steps.reestimate import reestimate
from paring.train.recovery import recover

# calibration samples, at most and at least
COMPENSATED, REESTIMATED, JUDGED, SCANNED = (256, 16), (1024, 32), (256, 16), (256, 8)


def pruned(model: Model, config: ChannelsConfig, context: Context, where: str) -> Model:
    """The model with fewer channels; see `PruneChannels.apply`."""
    found, told = model, list[str]()
    skipped: dict[str, str] = {}
    budget = _Budget.of(model, config, context, where)
    for number in range(1, config.rounds + 1):
        cut = Cut(found, config, context, where)
        if number == 1:
            skipped = dict(cut.skipped)
        chosen_widths = budget.met(cut, number / config.rounds)
        folder = context.directory / f"round-{number}"
        if config.sparse_learning is not None:
            line = cut.fade(chosen_widths, config.sparse_learning, folder / "before")
            told.append(f"before the cut {line}")
        found = cut.model(chosen_widths)
        if config.recover is not None:
            found, line = recover(found, config.recover, context, directory=folder)
            told.append(line)
    event = Event(
        where,
        config.model_dump(mode="json"),
        "; ".join([budget.told(model, found), *_mended(config), *told]),
        tuple(Skipped(layer, reason) for layer, reason in skipped.items()),
    )
    return shapes.cut(model, found.module, event)


def _mended(config: ChannelsConfig) -> list[str]:
    done = {"what reads them refitted": config.compensate, "batch norms re-estimated": config.reestimate}
    return [text for text, was in done.items() if was]


class Cut:
    """One cut of a model; what it needs to know is found once, when it is asked for.

    Attributes:
        structure: the groups that may be cut.
        allowed: group -> units that may stay.
        skipped: layer -> why it keeps its channels.
    """

    def __init__(self, model: Model, config: ChannelsConfig, context: Context, where: str) -> None:
        self.uncut, self._config, self._context, self.where = model, config, context, where
        whole = prunable(model)
        self.structure: Structure = chosen(model, whole, config.only, config.keep, where)
        self._macs = float(cost.macs(model))
        self._batch = effort.batch(self._macs)
        eliminated = config.importance == "elimination"
        self.scores, missing = importance.scores(
            "l2" if eliminated else config.importance,
            model, self.structure, context.task, self._samples(JUDGED), context.seed, self._batch,
        )  # fmt: skip
        if eliminated:
            found = {group.name: self._cutter.importance(group) for group in self.structure.groups}
            self.scores = {**self.scores, **{name: one for name, one in found.items() if one is not None}}
        groups = tuple(group for group in self.structure.groups if group.name in self.scores)
        self.structure = replace(self.structure, groups=groups)
        self.allowed = {
            group.name: choices(group, config.round_to, config.floor, config.min_channels) for group in groups
        }
        self.skipped = {**whole.skipped, **missing}
        for group in groups:
            if len(self.allowed[group.name]) == 1:
                reason = f"has {group.width} channels, too few for round_to: {config.round_to} or the least it may keep"
                self.skipped |= dict.fromkeys(group.layers, reason)
        if all(len(one) == 1 for one in self.allowed.values()):
            first = next(iter(self.skipped.items()), ("", "there is no layer with channels"))
            raise ParingError(
                f"no channels can be cut: {': '.join(filter(None, first))}",
                where,
                "lower round_to, floor or min_channels, or loosen only and keep",
            )

    def costs(self, measure: Measure) -> Costs:
        """What the network costs with narrower groups."""
        return Costs(self.uncut, self.structure, measure)

    def narrowest(self) -> Widths:
        """Every group as narrow as it may be."""
        return {name: one[0] for name, one in self.allowed.items()}

    def widths(self, costs: Costs, limit: float) -> Widths:
        """How wide each group stays within a limit of the cost."""
        if self._config.widths == "uniform":
            return widths.uniform(costs, self.allowed, limit)
        if self._config.widths == "global":
            return widths.ranked(costs, self.allowed, self.scores, limit)
        return widths.least_loss(costs, self.allowed, self.curves, limit)

    @cached_property
    def curves(self) -> dict[str, NDArray[np.float64]]:
        """Group -> the loss at each width that is allowed."""
        most, least = SCANNED
        samples = effort.samples(effort.SCAN, self._macs, scan.passes(self.allowed), least, most)
        losses = Losses(self.uncut, self._context.task, self._config.samples or samples, self._batch)
        points = scan.scan(self.structure, self.scores, self.allowed, self._cutter.cut, losses, self._context.progress)
        return {name: curve(points[name], self.allowed[name]) for name in self.allowed}

    def fade(self, chosen_widths: Widths, config: GrowingConfig, directory: Path) -> str:
        """Trains the uncut network while what these widths leave no room for fades out; one line on the training."""
        kept = self.structure.kept(self._staying(chosen_widths))
        steps = config.length(self._context.task.size("train") // config.batch_size)
        fading = growing.Fading(self.uncut.module, kept, self.structure.axes, config.strength, steps)
        self.uncut, told = recover(self.uncut, config, self._context, directory=directory, between_steps=fading)
        self.__dict__.pop("_cutter", None)  # the covariances were of other weights
        return told

    def model(self, chosen_widths: Widths) -> Model:
        """The model at these widths, mended; its history is as it was."""
        module = self._cutter.cut(self._staying(chosen_widths))
        if self._config.reestimate:
            reestimate(self.uncut, module, self._context.task, self._samples(REESTIMATED), self._batch)
        return replace(self.uncut, module=module)

    def _staying(self, chosen_widths: Widths) -> dict[str, list[int]]:
        return {
            group.name: scan.best(group, self.scores, chosen_widths[group.name])
            for group in self.structure.groups
            if chosen_widths[group.name] < group.units
        }

    @cached_property
    def _cutter(self) -> Compensation:
        config = self._config
        samples = self._samples(COMPENSATED) if config.compensate or config.importance == "elimination" else 0
        return Compensation(
            self.uncut, self.structure, self._context.task, samples, self._batch, mend=config.compensate
        )

    def _samples(self, bounds: tuple[int, int]) -> int:
        return effort.samples(effort.PASS, self._macs, 1, bounds[1], bounds[0])


@dataclass(frozen=True)
class _Budget:
    """What is to be kept to.

    Attributes:
        measure: on paper: the budget itself, or what stands for a measured one.
        before: of the model that the step was given, in the budget's unit.
        after: the limit, likewise.
        limit: where it is measured on the target.
    """

    measure: Measure
    before: float
    after: float
    limit: goal.Limit | None
    config: ChannelsConfig
    context: Context
    where: str

    @classmethod
    def of(cls, model: Model, config: ChannelsConfig, context: Context, where: str) -> "_Budget":
        """The budget of a configuration, in the units of what is counted or measured."""
        limit = goal.limit(config.latency, config.size, where)
        if limit is None:
            measure: Measure = "macs" if config.macs is not None else "parameters"
            before = float(cost.macs(model) if measure == "macs" else cost.parameters(model))
            share = config.macs or config.parameters or 1.0
            return cls(measure, before, share * before, None, config, context, where)
        before = limit.of(goal.measured(model, context.deployed, where))
        after = limit.value * before if limit.relative else limit.value
        if after >= before:
            raise ParingError(
                f"the model takes {_amount(before, limit.unit)} already, the budget is {_amount(after, limit.unit)}",
                f"{where}: {limit.name}",
                "lower the budget, or leave the step out",
            )
        return cls("macs" if limit.name == "latency" else "parameters", before, after, limit, config, context, where)

    def met(self, cut: Cut, progress: float) -> Widths:
        """Widths that keep to the budget, or to the part of the way that `progress` (0 to 1) says.

        Raises:
            ParingError: the narrowest that the options allow do not.
        """
        wanted = self.before * (self.after / self.before) ** progress
        costs = cut.costs(self.measure)
        least = costs.of(cut.narrowest())
        if self.limit is None:
            if least > wanted:
                raise self._missed(least, wanted, "1")
            return cut.widths(costs, wanted)
        limit, found = self.limit, dict[float, Widths]()

        def at(share: float) -> float:
            found[share] = cut.widths(costs, share * costs.total)
            model = shapes.cut(cut.uncut, cut.model(found[share]).module, Event(self.where, {}, "trial"))
            value = limit.of(goal.measured(model, self.context.deployed, self.where))
            self.context.progress.note(f"{100 * share:.0f} % of {self.measure}: {_amount(value, limit.unit)}")
            return value

        before = limit.of(goal.measured(cut.uncut, self.context.deployed, self.where))
        share, value = goal.largest_share(at, least / costs.total, before, wanted)
        if value > wanted:
            raise self._missed(value, wanted, limit.unit)
        return found.get(share, {group.name: group.units for group in cut.structure.groups})

    def told(self, before: Model, after: Model) -> str:
        """What became of the costs."""
        return goal.told(before, after)

    def _missed(self, least: float, wanted: float, unit: str) -> ParingError:
        name = self.limit.name if self.limit is not None else self.measure
        if unit == "1":
            told = f"{100 * least / self.before:.1f} % of the {name}, the budget is {100 * wanted / self.before:.1f} %"
        else:
            told = f"{_amount(least, unit)}, the budget is {_amount(wanted, unit)}"
        return ParingError(
            f"the narrowest that floor, min_channels and round_to allow comes to {told}: "
            f"{least / wanted:.2f} times as much",
            f"{self.where}: {name}",
            "raise the budget, lower floor or round_to, or loosen only and keep",
        )


def _amount(value: float, unit: str) -> str:
    return f"{value / 1024:.1f} KiB" if unit == "bytes" else f"{value:.3g} {unit}"
