"""Weights stay that training moves away from 0, whatever their size: for networks that are tuned to another task.

Sanh et al. 2020, "Movement Pruning: Adaptive Sparsity by Fine-Tuning", arXiv:2005.07683: the importance of a weight is
S = −α Σ_t (∂L/∂W) · W (equation 3), and W is used where S is among the largest (hard), or above a threshold (soft).
"""

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from paring.core.model import Event, Model
from paring.core.step import Context, StepConfig
from paring.steps.prune.sparsity.polynomial import Polynomial
from paring.steps.prune.sparsity.sparse import SparseConfig, SparseStep
from paring.train.config import RecoverConfig


class MovementConfig(SparseConfig):
    """Options of `prune.movement`.

    Attributes:
        mode: `hard`: as many weights stay as `sparsity` and the schedule say; `soft`: those whose importance is above a
            threshold, while a penalty pushes all down, so that each layer finds its own share.
        sparsity: of `hard`: share of zeros among the weights of the chosen layers.
        scope: of `hard`: `layer`: the same share in each; `global`: one threshold for all.
        threshold: of `soft`: τ, of σ(S), where σ(0) = 0.5 at the start.
        penalty: of `soft`: λ, how hard σ(S) is pushed down at first against the root mean square of what the loss does.
            More makes more zeros; it grows from 0 along the schedule.
        importance_rate: α, how far S moves in a step: the root mean square over a tensor of its loss's part.
        polynomial: when zeros come (`soft`: when the penalty grows); after its end the masks stay.
        recover: the training.
    """

    mode: Literal["hard", "soft"] = "hard"
    sparsity: float | None = Field(default=None, gt=0, lt=1)
    scope: Literal["layer", "global"] = "layer"
    threshold: float = Field(default=0.1, gt=0, lt=0.5)
    penalty: float = Field(default=0.2, gt=0)
    importance_rate: float = Field(default=0.1, gt=0)
    polynomial: Polynomial = Polynomial()
    recover: RecoverConfig = Field(default_factory=lambda: RecoverConfig.model_validate({}))

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        given = self.model_fields_set
        if self.mode == "hard" and (self.sparsity is None or given & {"threshold", "penalty"}):
            raise ValueError("mode hard takes sparsity, and neither threshold nor penalty")
        if self.mode == "soft" and given & {"sparsity", "scope"}:
            raise ValueError("mode soft finds its sparsity by threshold and penalty: leave sparsity and scope out")
        if self.polynomial.initial:
            raise ValueError("initial: nothing is known of importance at the start, so that it is 0")
        return self


class PruneMovement(SparseStep):
    """`prune.movement`. Contract: `paring.core.step.Step`."""

    name: ClassVar[str] = "prune.movement"
    Config: ClassVar[type[StepConfig]] = MovementConfig

    def apply(self, model: Model, config: MovementConfig, context: Context) -> Model:
        """The model, trained while what moves toward 0 becomes 0.

        Raises:
            ParingError: no weight of a layer is left, the schedule is longer than the training, the model is quantized,
                or the training fails.
            UnknownName: a pattern matches no layer.
        """
        from paring.steps.prune.sparsity import masks, moving
        from paring.steps.prune.sparsity.scores import Scores
        from paring.steps.prune.sparsity.tensors import chosen

        names, skipped = chosen(model, config.layers, config.keep, self.name, moving.sparse_already(model))
        masks.refuse_infinite(model.module, names, self.name)
        moving.refuse_averages(config.recover, self.name)
        end = config.polynomial.end_of(moving.steps_of(config.recover, context), f"{self.name}: polynomial")
        scores = Scores(model.module, names, config, end, self.name)
        module, found, told = moving.train(model, scores, config, config.recover, context)
        event = Event(self.name, config.model_dump(mode="json"), f"{masks.told(found)}; {told}", skipped)
        return masks.result(model, module, found, event)
