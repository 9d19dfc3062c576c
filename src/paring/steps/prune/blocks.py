"""Whole residual blocks and transformer layers that the answers depend on least are taken out.

By the answers that a network gives without each block, measured anew after each removal; or by block influence, Men et
al. 2024, "ShortGPT: Layers in Large Language Models are More Redundant Than You Expect", arXiv:2403.03853, equation 1:
1 − E cos(x, y) of what a block takes and gives, from one pass.
"""

import copy
from collections.abc import Mapping
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from paring.core.errors import ParingError
from paring.core.model import Event, Model
from paring.core.step import Context, Phase, StepConfig
from paring.train.config import RecoverConfig


class BlocksConfig(StepConfig):
    """Options of `prune.blocks`. Its budget is exactly one of `count`, `macs` and `latency`.

    Patterns are shell patterns on names of blocks (`stages.2.*`).

    Attributes:
        count: how many blocks go.
        macs: share of the multiply–accumulates that stays at most, e.g. 0.5.
        latency: the most that one inference may take on the first target, as a time (`0.2 ms`) or of the model before
            (`0.6x`).
        importance: which go first: those without which the answers change least (`answers`), those that change least
            what runs through them (`influence`, one pass instead of many), or any (`random`, a control).
        samples: of the calibration split.
        only: patterns of what may go; every block if empty.
        keep: patterns of what stays.
        reestimate: whether batch norms take their statistics anew (1024 calibration samples): behind a gap they see
            other values than before.
        recover: how the network is trained afterwards; None leaves it as cut.
    """

    count: int | None = Field(default=None, ge=1)
    macs: float | None = Field(default=None, gt=0, lt=1)
    latency: str | None = None
    importance: Literal["answers", "influence", "random"] = "answers"
    samples: int = Field(default=128, ge=1)
    only: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()
    reestimate: bool = True
    recover: RecoverConfig | None = None

    @model_validator(mode="after")
    def _one_budget(self) -> Self:
        given = [name for name in ("count", "macs", "latency") if getattr(self, name) is not None]
        if len(given) != 1:
            told = " and ".join(given) if given else "none is given"
            raise ValueError(f"the budget is exactly one of count, macs and latency: {told}")
        from paring.steps import goal

        goal.check(self.latency, None)
        return self

    @property
    def measures(self) -> bool:
        """Whether the budget is measured on the target."""
        return self.latency is not None


class PruneBlocks:
    """`prune.blocks`. Contract: `paring.core.step.Step`."""

    name: ClassVar[str] = "prune.blocks"
    phase: ClassVar[Phase] = Phase.STRUCTURE
    Config: ClassVar[type[StepConfig]] = BlocksConfig

    def apply(self, model: Model, config: BlocksConfig, context: Context) -> Model:
        """The model without some of its blocks.

        Raises:
            ParingError: the model is quantized or has no block that can go, the budget asks for more than can go, or
                there are no calibration data.
            UnknownName: a pattern matches no block.
        """
        from paring.steps import reestimate, shapes
        from paring.steps.prune.structure import removal, residual
        from paring.train.recovery import recovered

        self._refuse(model)
        blocks = residual.find(model)
        chosen, skipped = residual.chosen(blocks, config.only, config.keep, self.name)
        budget = removal.budget(model, config.count, config.macs, config.latency, context, self.name)
        gone, moved = removal.Removal(model, chosen, config.importance, config.samples, context, self.name).run(budget)
        module = copy.deepcopy(model.module)
        for name in gone:
            residual.remove(module, name)
        distance = f"a KL divergence of {moved:.3g}" if context.task.labels else f"{moved:.3g} of their square"
        told = (
            f"removed {len(gone)} of {len(blocks.removable)} blocks that can go ({', '.join(gone) or 'none'}), "
            f"which moves the answers by {distance} and leaves {budget.told(module)}"
        )
        told += reestimate.told(model, module, context.task) if config.reestimate else ""
        event = Event(self.name, config.model_dump(mode="json"), told, skipped)
        return recovered(shapes.cut(model, module, event), config.recover, context)

    def acts_on(self, model: Model) -> Mapping[str, str | None]:
        """Blocks that can go, and those of their kind that cannot, with the reason."""
        from paring.steps.prune.structure import residual

        self._refuse(model)
        blocks = residual.find(model)
        return {**blocks.refused, **dict.fromkeys(blocks.removable)} if blocks.removable else {}

    def _refuse(self, model: Model) -> None:
        if model.fixed:
            raise ParingError(
                "a quantized model cannot be cut: its scales are fixed", self.name, "place it before quantization"
            )
