"""From options to a model with factors: which layers, at which ranks, put in, proved and recovered."""

import copy
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import nn

from paring.core.errors import ParingError
from paring.core.model import Event, Model, Skipped
from paring.core.step import Context
from paring.measure import cost
from paring.steps import effort, goal
from paring.steps.factorize.low_rank import edit, ranks
from paring.steps.factorize.low_rank.alone import Alone
from paring.steps.factorize.low_rank.budget import Measure, Spread
from paring.steps.factorize.low_rank.candidates import Candidate
from paring.steps.factorize.low_rank.factors import filled
from paring.steps.factorize.low_rank.layers import Layer, find, sample
from paring.steps.factorize.low_rank.metric import PLAIN
from paring.steps.factorize.low_rank.moments import Moments
from paring.steps.factorize.low_rank.split import Method, NoFactors, Ranks, told
from paring.steps.factorize.options import LowRankConfig
from paring.steps.reestimate import reestimate
from paring.steps.select import select
from paring.train.recovery import recovered

SEEN, REESTIMATED = (256, 16), (1024, 32)  # calibration samples, at most and at least
_LOOKS_UP = "it looks its values up, and has no multiply–accumulates to save"


def factorized(model: Model, method: Method, config: LowRankConfig, context: Context, where: str) -> Model:
    """The model with factors in the place of layers.

    Raises:
        ParingError: the model is quantized, no layer can be taken apart with a gain, a budget needs a target and there
            is none, or it cannot be met; there are no calibration data, or the factorized network does not run.
        UnknownName: a pattern matches no layer.
    """
    _refuse(model, where)
    work = _Work(model, method, config, context, where)
    found = work.chosen()
    if not found:
        first = "; ".join(f"{name}: {why}" for name, why in list(work.skipped.items())[:3])
        raise ParingError(
            f"no layer is worth taking apart{first and f' ({first})'}",
            where,
            "another rule for the ranks, other layers (only, keep), or leave the step out",
        )
    module = work.network(found)
    text = f"took {len(found)} layers apart ({_named(found)}): {goal.told(model, replace(model, module=module))}"
    if config.reestimate and work.norms:
        text += f"; {work.norms} batch norms re-estimated"
    event = Event(
        where, config.model_dump(mode="json"), text, tuple(Skipped(name, why) for name, why in work.skipped.items())
    )
    layouts = {name: work.layers[name].split.layout(one) for name, one in found.items()}
    return recovered(edit.put(model, module, layouts, event), config.recover, context)


def acts_on(model: Model, method: Method, where: str) -> Mapping[str, str | None]:
    """Layers that can be taken apart; others with the reason why not."""
    _refuse(model, where)
    return {layer.name: layer.reason or None for layer in find(model, method.refusal)}


def _refuse(model: Model, where: str) -> None:
    if model.fixed:
        raise ParingError(
            "a quantized model cannot be taken apart: its scales are fixed", where, "place it before quantization"
        )


class _Work:
    """One application of a step.

    Attributes:
        layers: name -> layer that may be taken apart.
        skipped: layer -> why it stays as it is.
        norms: batch norms that were re-estimated.
    """

    def __init__(self, model: Model, method: Method, config: LowRankConfig, context: Context, where: str) -> None:
        self._model, self._config, self._context, self._where = model, config, context, where
        self._macs = float(cost.macs(model))
        self._batch = effort.batch(self._macs)
        self._chains: dict[tuple[str, Ranks], nn.Sequential] = {}
        self._alone = Alone(context.deployed if config.slower == "leave" else None)
        self.norms = 0
        self.skipped: dict[str, str] = {}
        found = self._selected(find(model, method.refusal))
        parts = {layer.name: model.module.get_submodule(layer.name) for layer in found}
        moments = None
        if config.data_aware and found:
            samples = min(config.samples or self._samples(SEEN), context.task.size("calibration"))
            if not samples:
                raise ParingError(
                    "the calibration split is empty", where, "give the data set more samples, or data_aware: false"
                )
            moments = Moments(model, parts, context.task, samples, self._batch)
        self.layers = {}
        for layer in found:
            metric = moments.metric(layer.name) if moments else PLAIN
            counts = moments.counts(layer.name) if moments else None
            split = method.split(parts[layer.name], metric, counts)
            self.layers[layer.name] = Candidate(layer, parts[layer.name], split, config.round_to)

    def chosen(self) -> dict[str, Ranks]:
        """Layer -> its ranks; what is left as it is, is among `skipped`."""
        if self._config.budget is not None:
            return self._budgeted()
        found = {}
        for name, layer in self.layers.items():
            try:
                one = ranks.chosen(layer, self._config)
                slower = self._alone.slower(layer, one, self.chain(name, one))
            except NoFactors as error:
                self.skipped[name] = str(error)
                continue
            if slower:
                self.skipped[name] = slower
            else:
                found[name] = one
        return found

    def chain(self, name: str, one: Ranks) -> nn.Sequential:
        """The factors of a layer. Raises NoFactors."""
        if (name, one) not in self._chains:
            self._chains[name, one] = filled(self.layers[name].split.factors(one))
        return self._chains[name, one]

    def network(self, found: Mapping[str, Ranks]) -> nn.Module:
        """A copy of the network with these factors, its batch norms re-estimated.

        Raises:
            ParingError: it does not run.
        """
        module = copy.deepcopy(self._model.module)
        for name, one in found.items():
            module.set_submodule(name, copy.deepcopy(self.chain(name, one)))
        module.eval()
        try:
            with torch.inference_mode():
                module(*sample(self._model))
        except Exception as error:  # a forward pass can fail in any way
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise ParingError(
                f"the network does not run with factors: {reason}",
                self._where,
                "keep the layer that the message speaks of (keep: [PATTERN])",
            ) from error
        if self._config.reestimate:
            samples = self._samples(REESTIMATED)
            self.norms = reestimate(self._model, module, self._context.task, samples, self._batch)
        return module

    def _selected(self, there: list[Layer]) -> list[Layer]:
        """Layers that the options choose and that can be taken apart; of others chosen, the reason is noted."""
        if not there:
            raise ParingError(
                "has no linear layer, convolution or embedding", str(self._model.source), "leave the step out"
            )
        names = set(select(self._config.only or ("*",), there, f"{self._where}: only"))
        names -= set(select(self._config.keep, there, f"{self._where}: keep"))
        found = []
        for layer in there:
            reason = layer.reason
            if not reason and self._config.budget in ("macs", "latency") and "embedding" in layer.kinds:
                reason = _LOOKS_UP
            if layer.name in names and reason:
                self.skipped[layer.name] = reason
            elif layer.name in names:
                found.append(layer)
        return found

    def _budgeted(self) -> dict[str, Ranks]:
        for name in [name for name, layer in self.layers.items() if not layer.ladder]:
            self.skipped[name] = "it is too small: factors of any rank would cost more"
        layers = {name: layer for name, layer in self.layers.items() if layer.ladder}
        spread = Spread(self._model, layers, self.chain, self._context, self._config.samples, self._where)
        limit = goal.limit(self._config.latency, None, self._where)
        if limit is None:
            measure: Measure = "macs" if self._config.macs is not None else "parameters"
            share = self._config.macs or self._config.parameters or 1.0
            found = self._settled(spread, measure, share * spread.whole(measure))
        else:
            found = self._measured(spread, limit)
        for name in layers.keys() - found.keys() - self.skipped.keys():
            self.skipped[name] = "the budget is met without it"
        for name in found:
            self.skipped.pop(name, None)
        return found

    def _settled(self, spread: Spread, measure: Measure, limit: float) -> dict[str, Ranks]:
        """Ranks within a limit on paper, at which every layer can be taken apart and runs no slower."""
        while True:
            found, banned = spread.within(measure, limit), False
            for name, one in found.items():
                try:
                    slower = self._alone.slower(self.layers[name], one, self.chain(name, one))
                except NoFactors as error:
                    self.skipped[name], banned = str(error), True
                    spread.ban(name, one, above=False)
                    continue
                if slower:
                    self.skipped[name], banned = slower, True
                    spread.ban(name, one, above=True)
            if not banned:
                return found

    def _measured(self, spread: Spread, limit: goal.Limit) -> dict[str, Ranks]:
        """The ranks of the largest share of multiply–accumulates whose latency is within the limit."""
        found: dict[float, dict[str, Ranks]] = {}
        before = goal.measured(self._model, self._context.deployed, self._where).latency_ms
        wanted = limit.value * before if limit.relative else limit.value
        if wanted >= before:
            raise ParingError(
                f"the model takes {before:.3g} ms already, the budget is {wanted:.3g} ms",
                f"{self._where}: latency",
                "lower the budget, or leave the step out",
            )
        whole = spread.whole("macs")

        def at(share: float) -> float:
            found[share] = self._settled(spread, "macs", max(share * whole, spread.least("macs")))
            trial = edit.put(
                self._model, self.network(found[share]),
                {name: self.layers[name].split.layout(one) for name, one in found[share].items()},
                Event(self._where, {}, "trial"),
            )  # fmt: skip
            value = goal.measured(trial, self._context.deployed, self._where).latency_ms
            self._context.progress.note(f"{100 * share:.0f} % of macs: {value:.3g} ms")
            return value

        share, value = goal.largest_share(at, spread.least("macs") / whole, before, wanted)
        if value > wanted:
            raise ParingError(
                f"the lowest ranks come to {value:.3g} ms, the budget is {wanted:.3g} ms: "
                f"{value / wanted:.2f} times as much",
                f"{self._where}: latency",
                "raise the budget, lower round_to, or loosen only, keep and slower",
            )
        return found[share]

    def _samples(self, bounds: tuple[int, int]) -> int:
        return effort.samples(effort.PASS, self._macs, 1, bounds[1], bounds[0])


def _named(found: Mapping[str, Ranks]) -> str:
    """`rank 8: stem, body.1; rank 16: classifier`."""
    groups = defaultdict(list)
    for name, one in found.items():
        groups[one].append(name)
    return "; ".join(f"rank {told(one)}: {', '.join(groups[one])}" for one in sorted(groups))
