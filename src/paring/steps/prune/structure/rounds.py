"""From a budget to a smaller model: fade out, cut, mend, recover, in one round or several."""

from dataclasses import dataclass

from paring.core.errors import ParingError
from paring.core.model import Event, Model, Skipped
from paring.core.step import Context
from paring.measure import cost
from paring.steps import goal, shapes
from paring.steps.prune.channels import ChannelsConfig
from paring.steps.prune.structure import widths
from paring.steps.prune.structure.costs import Costs, Measure, Widths
from paring.steps.prune.structure.cut import Cut
from paring.train.recovery import recover


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
        "; ".join([goal.told(model, found), *_mended(config), *told]),
        tuple(Skipped(layer, reason) for layer, reason in skipped.items()),
    )
    return shapes.cut(model, found.module, event)


def _mended(config: ChannelsConfig) -> list[str]:
    done = {"what reads them refitted": config.compensate, "batch norms re-estimated": config.reestimate}
    return [text for text, was in done.items() if was]


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
        counted = cut.costs(self.measure)
        least = counted.of(cut.narrowest())
        if self.limit is None:
            if least > wanted:
                raise self._missed(least, wanted, "1")
            return _widths(cut, self.config, counted, wanted)
        limit, found = self.limit, dict[float, Widths]()

        def at(share: float) -> float:
            found[share] = _widths(cut, self.config, counted, share * counted.total)
            model = shapes.cut(cut.uncut, cut.model(found[share]).module, Event(self.where, {}, "trial"))
            value = limit.of(goal.measured(model, self.context.deployed, self.where))
            self.context.progress.note(f"{100 * share:.0f} % of {self.measure}: {_amount(value, limit.unit)}")
            return value

        before = limit.of(goal.measured(cut.uncut, self.context.deployed, self.where))
        share, value = goal.largest_share(at, least / counted.total, before, wanted)
        if value > wanted:
            raise self._missed(value, wanted, limit.unit)
        return found.get(share, {group.name: group.units for group in cut.structure.groups})

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


def _widths(cut: Cut, config: ChannelsConfig, counted: Costs, limit: float) -> Widths:
    """How wide each group stays within a limit of the cost."""
    if config.widths == "uniform":
        return widths.uniform(counted, cut.allowed, limit)
    if config.widths == "global":
        return widths.ranked(counted, cut.allowed, cut.scores, limit)
    return widths.least_loss(counted, cut.allowed, cut.curves, limit)


def _amount(value: float, unit: str) -> str:
    return f"{value / 1024:.1f} KiB" if unit == "bytes" else f"{value:.3g} {unit}"
