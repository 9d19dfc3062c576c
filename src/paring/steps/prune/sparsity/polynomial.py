"""A share of zeros that grows as a network trains.

Zhu and Gupta 2017, "To prune, or not to prune: exploring the efficacy of pruning for model compression",
arXiv:1710.01878, equation 1.
"""

from typing import Self

from pydantic import Field, model_validator

from paring.core.errors import ParingError
from paring.core.step import StepConfig


class Polynomial(StepConfig):
    """s_t = s_f + (s_i − s_f) · (1 − (t − t_0) / (t_end − t_0))^power; fast at first, when much is superfluous.

    Attributes:
        initial: s_i, the share of zeros that it begins with.
        begin: t_0, in optimizer steps.
        end: the step at which the final share s_f is reached; None for two thirds of the training.
        frequency: optimizer steps between two changes.
        power: 3 in the paper, 1 for a straight line.
    """

    initial: float = Field(default=0.0, ge=0, lt=1)
    begin: int = Field(default=0, ge=0)
    end: int | None = Field(default=None, ge=1)
    frequency: int = Field(default=20, ge=1)
    power: float = Field(default=3.0, gt=0)

    @model_validator(mode="after")
    def _forwards(self) -> Self:
        if self.end is not None and self.end <= self.begin:
            raise ValueError(f"the schedule ends at step {self.end}, before its begin at step {self.begin}")
        return self

    def end_of(self, total: int, where: str) -> int:
        """The step at which it ends.

        Args:
            total: steps of the training.
            where: the option, for the error.

        Raises:
            ParingError: the training ends first.
        """
        end = self.end if self.end is not None else total * 2 // 3
        if not self.begin < end <= total:
            raise ParingError(
                f"the schedule goes from step {self.begin} to step {end}, the training has {total}",
                where,
                f"recover: more epochs, or polynomial: {{begin: …, end: …}} within {total} steps",
            )
        return end

    def moves(self, step: int, end: int) -> bool:
        """Whether the share changes after that many steps."""
        return self.begin <= step <= end and ((step - self.begin) % self.frequency == 0 or step == end)

    def share(self, step: int, end: int, final: float) -> float:
        """Share of zeros after that many steps."""
        done = min(1.0, max(0.0, (step - self.begin) / (end - self.begin)))
        return final + (self.initial - final) * float((1 - done) ** self.power)
