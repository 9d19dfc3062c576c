"""Texts varied at random, for training.

Parts of texts as in Tang et al. 2019, "Distilling Task-Specific Knowledge from BERT into Simple Neural Networks",
arXiv:1903.12136, section 3.3; words left out as in Wei and Zou 2019, "EDA", arXiv:1901.11196; one text continued by
another as CutMix does with images (Yun et al. 2019, arXiv:1905.04899), here within a class.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from paring.data.order import Portion
from paring.data.splits import Indices

Chance = Annotated[float, Field(ge=0, le=1)]
Text = NDArray[Any]


class Variation(BaseModel):
    """How `augment` changes a text: it is cut, or continued by another, or neither; then tokens are left out.

    Attributes:
        crop: chance that only a part of the text stays, of any length and from anywhere.
        splice: chance that the text breaks off anywhere and goes on as another text of its class does, from anywhere.
        drop: chance of each token to be left out.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    crop: Chance = 0.25
    splice: Chance = 0.25
    drop: Chance = 0.1

    @model_validator(mode="after")
    def _exclusive(self) -> Self:
        if self.crop + self.splice > 1:
            raise ValueError("a text is either cut or continued: crop and splice together are more than 1")
        return self

    def __call__(self, text: Text, other: Text, draws: Draws, room: int) -> Text:
        """The text, varied: at least one of its tokens and at most `room`; an empty one stays empty.

        Args:
            text: token ids, without those that stand around every text.
            other: of the same class.
            draws: this text's share of chance.
            room: tokens that fit.
        """
        if not len(text):
            return text
        if draws.kind < self.crop:
            count = 1 + int(draws.first * len(text))
            start = int(draws.second * (len(text) - count + 1))
            text = text[start : start + count]
        elif draws.kind < self.crop + self.splice:
            head, tail = text[: 1 + int(draws.first * len(text))], other[int(draws.second * len(other)) :]
            text = np.concatenate((head, tail))[:room]
        kept = text[draws.tokens[: len(text)] >= self.drop]
        return kept if len(kept) else text[:1]


@dataclass(frozen=True, slots=True)
class Draws:
    """What chance says of one text, numbers in [0, 1).

    Attributes:
        kind: what is done to it.
        first: where it is cut.
        second: likewise.
        partner: which other text goes on.
        tokens: one for each token that fits.
    """

    kind: float
    first: float
    second: float
    partner: float
    tokens: NDArray[np.float64]


def drawn(seed: int, portion: Portion, shard: tuple[int, int], length: int) -> list[Draws]:
    """Chance for each text of a portion, the same wherever a pass is taken up and however many processes share it."""
    chance = np.random.default_rng((seed, portion.number)).random((portion.total, 4 + length))
    return [Draws(row[0], row[1], row[2], row[3], row[4:]) for row in chance[shard[0] :: shard[1]]]


def by_class(members: Indices, targets: Indices) -> Mapping[int, Indices]:
    """The texts of each class, among some."""
    own = targets[members]
    return {int(target): members[own == target] for target in np.unique(own)}


def chosen(classes: Mapping[int, Indices], targets: Indices, draws: Sequence[Draws]) -> Indices:
    """For each text another one of its class, or itself."""
    found = (classes[int(target)] for target in targets)
    return np.asarray([one[int(draw.partner * len(one))] for one, draw in zip(found, draws, strict=True)])
