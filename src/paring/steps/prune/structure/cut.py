"""One cut of a network's channels: which groups may be cut, what matters in them, and the network without the rest."""

from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from paring.core.errors import ParingError
from paring.core.model import Model
from paring.core.step import Context
from paring.measure import cost
from paring.steps import effort
from paring.steps.losses import Losses, curve
from paring.steps.prune.channels import CutConfig, GrowingConfig
from paring.steps.prune.structure import growing, importance, scan
from paring.steps.prune.structure.choices import choices
from paring.steps.prune.structure.compensate import Compensation
from paring.steps.prune.structure.costs import Costs, Measure, Widths
from paring.steps.prune.structure.groups import Structure
from paring.steps.prune.structure.kinds import chosen
from paring.steps.prune.structure.proof import prunable
from paring.steps.reestimate import REESTIMATED, reestimate
from paring.train.recovery import recover

# calibration samples, at most and at least
COMPENSATED, JUDGED, SCANNED = (256, 16), (256, 16), (256, 8)


class Cut:
    """One cut of a model; what it needs to know is found once, when it is asked for.

    Attributes:
        structure: the groups that may be cut.
        allowed: group -> units that may stay.
        skipped: layer -> why it keeps its channels.
    """

    def __init__(self, model: Model, config: CutConfig, context: Context, where: str) -> None:
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
                "lower round_to or the least that may stay, or loosen only and keep",
            )

    def costs(self, measure: Measure) -> Costs:
        """What the network costs with narrower groups."""
        return Costs(self.uncut, self.structure, measure)

    def narrowest(self) -> Widths:
        """Every group as narrow as it may be."""
        return {name: one[0] for name, one in self.allowed.items()}

    @cached_property
    def curves(self) -> dict[str, NDArray[np.float64]]:
        """Group -> the loss at each width that is allowed."""
        most, least = SCANNED
        samples = effort.samples(effort.SCAN, self._macs, scan.passes(self.allowed), least, most)
        losses = Losses(
            self.uncut, self._context.task, self._config.samples or samples, self._batch, readout=self._config.readout
        )
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
