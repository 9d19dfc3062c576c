"""The smallest weights become 0: at once, in rounds with recovery between, or little by little as the network trains.

Han et al. 2015, "Learning both Weights and Connections for Efficient Neural Networks", arXiv:1506.02626 (rounds); Zhu
and Gupta 2017, arXiv:1710.01878 (schedule); Lin et al. 2020, "Dynamic Model Pruning with Feedback", arXiv:2006.07253
(weights that come back).
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import Field, model_validator

from paring.core.model import Event, Model
from paring.core.step import Context, StepConfig
from paring.steps.prune.sparsity.polynomial import Polynomial
from paring.steps.prune.sparsity.sparse import SparseConfig, SparseStep
from paring.train.config import RecoverConfig

if TYPE_CHECKING:
    from torch import Tensor, nn

_REMEDY = "a lower sparsity, scope: layer, or name the layer in keep"


class Iterative(StepConfig):
    """Rounds of pruning, each followed by a whole `recover`; each takes the same share of the weights still there.

    Attributes:
        rounds: how many.
    """

    rounds: int = Field(default=3, ge=2)


class MagnitudeConfig(SparseConfig):
    """Options of `prune.magnitude`. Without `iterative` and `polynomial` all zeros are set at once.

    Attributes:
        sparsity: share of zeros among the weights of the chosen layers.
        scope: `global`: one threshold for all, so that large layers lose more than depthwise ones; `layer`: the same
            share in each.
        iterative: prune in rounds.
        polynomial: prune while `recover` trains.
        regrow: with `polynomial`: a weight that is 0 goes on learning unseen, and comes back once it is large enough.
        recover: training afterwards (of `polynomial`: meanwhile); None for none.
    """

    sparsity: float = Field(gt=0, lt=1)
    scope: Literal["layer", "global"] = "global"
    iterative: Iterative | None = None
    polynomial: Polynomial | None = None
    regrow: bool = False
    recover: RecoverConfig | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.iterative is not None and self.polynomial is not None:
            raise ValueError("iterative and polynomial: give one of them, not both")
        if self.recover is None and (self.iterative or self.polynomial) is not None:
            raise ValueError("iterative and polynomial need a training: give recover")
        if self.regrow and self.polynomial is None:
            raise ValueError("regrow: weights come back while a schedule runs: give polynomial")
        if self.polynomial is not None and self.polynomial.initial > self.sparsity:
            raise ValueError(f"initial={self.polynomial.initial} is more than sparsity={self.sparsity}")
        return self


class PruneMagnitude(SparseStep):
    """`prune.magnitude`. Contract: `paring.core.step.Step`."""

    name: ClassVar[str] = "prune.magnitude"
    Config: ClassVar[type[StepConfig]] = MagnitudeConfig

    def apply(self, model: Model, config: MagnitudeConfig, context: Context) -> Model:
        """The model with its smallest weights 0.

        Raises:
            ParingError: no weight of a layer would be left, the schedule is longer than the training, the model is
                quantized, or the training fails.
            UnknownName: a pattern matches no layer.
        """
        from paring.steps.prune.sparsity import masks
        from paring.steps.prune.sparsity.moving import sparse_already
        from paring.steps.prune.sparsity.tensors import chosen

        reasons = sparse_already(model) if config.regrow else {}
        names, skipped = chosen(model, config.layers, config.keep, self.name, reasons)
        masks.refuse_infinite(model.module, names, self.name)
        way = self._rounds if config.polynomial is None else self._gradual
        module, found, told = way(model, names, config, context)
        event = Event(self.name, config.model_dump(mode="json"), masks.told(found) + told, skipped)
        return masks.result(model, module, found, event)

    def _rounds(
        self, model: Model, names: Sequence[str], config: MagnitudeConfig, context: Context
    ) -> "tuple[nn.Module, dict[str, Tensor], str]":
        from paring.steps.prune.sparsity import masks
        from paring.train.recovery import recover

        rounds = config.iterative.rounds if config.iterative else 1
        state, told, found = model, "", dict[str, "Tensor"]()
        for number in range(1, rounds + 1):
            share = config.sparsity if number == rounds else 1 - (1 - config.sparsity) ** (number / rounds)
            sizes = [state.module.get_parameter(name).detach().abs() for name in names]
            found = dict(zip(names, masks.by_size(sizes, share, config.scope), strict=True))
            masks.refuse_empty(found, self.name, _REMEDY)
            state = replace(
                state,
                module=masks.masked(state.module, found),
                invariants=model.invariants + masks.invariants(found),
            )
            if config.recover is not None:
                folder = context.directory / f"round-{number}"
                state, said = recover(state, config.recover, context, directory=folder)
                told += f"; {said}"
        return state.module, found, told

    def _gradual(
        self, model: Model, names: Sequence[str], config: MagnitudeConfig, context: Context
    ) -> "tuple[nn.Module, dict[str, Tensor], str]":
        from paring.steps.prune.sparsity import masks, moving
        from paring.steps.prune.sparsity.gradual import Gradual

        polynomial, training = config.polynomial, config.recover
        assert polynomial is not None and training is not None  # noqa: S101, PT018 - the options were checked
        moving.refuse_averages(training, self.name)
        end = polynomial.end_of(moving.steps_of(training, context), f"{self.name}: polynomial")
        if config.scope == "layer":  # else training tells
            sizes = [model.module.get_parameter(name).detach().abs() for name in names]
            last = masks.by_size(sizes, config.sparsity, "layer")
            masks.refuse_empty(dict(zip(names, last, strict=True)), self.name, _REMEDY)
        gradual = Gradual(model.module, names, config, polynomial, end, self.name, _REMEDY)
        module, found, told = moving.train(model, gradual, config, training, context)
        return module, found, f"; {told}"
