"""Options of each repair; data only, so that a recipe is checked before any work begins."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field, ValidationError

from paring.core.errors import UnknownName
from paring.core.step import StepConfig

Chosen = str | Mapping[str, Mapping[str, Any]]


class Plain(StepConfig):
    """Of a repair without options."""


class Equalize(StepConfig):
    """Options of `equalize`.

    Attributes:
        sweeps: how often every pair of layers is equalized, as each changes its neighbours.
        margin: share of a ReLU6's limit that the largest value seen may reach, where its channel never met the limit.
    """

    sweeps: int = Field(default=20, ge=1)
    margin: float = Field(default=0.9, gt=0, le=1)


class Adaround(StepConfig):
    """Options of `adaround`.

    Attributes:
        iterations: of gradient descent, for each layer.
        positions: of each layer's output that are looked at, over all samples.
        batch: positions in one iteration; of both, a layer whose outputs have few inputs takes fewer (four positions in
            an iteration for each input, 64 at the least).
        learning_rate: of Adam, on the variables that choose between rounding up and down.
        regularization: weight of the term that drives every choice to an end, in shares of the error of rounding to
            the nearest.
        damping: weight of the error of each input by itself beside that of the samples; more where samples are few or
            alike.
    """

    iterations: int = Field(default=1000, ge=1)
    positions: int = Field(default=8192, ge=1)
    batch: int = Field(default=512, ge=1)
    learning_rate: float = Field(default=0.05, gt=0)
    regularization: float = Field(default=1.0, gt=0)
    damping: float = Field(default=0.0, ge=0)


class Brecq(StepConfig):
    """Options of `brecq`.

    Attributes:
        iterations: of gradient descent, for each block.
        batch: samples in one iteration.
        learning_rate: of Adam, on the variables that choose between rounding up and down.
        scale_learning_rate: of Adam, on the logarithms of the activations' scales; 0 leaves them.
        regularization: as in `Adaround`.
    """

    iterations: int = Field(default=500, ge=1)
    batch: int = Field(default=16, ge=1)
    learning_rate: float = Field(default=0.05, gt=0)
    scale_learning_rate: float = Field(default=1e-3, ge=0)
    regularization: float = Field(default=1.0, gt=0)


OPTIONS: dict[str, type[StepConfig]] = {
    "adaround": Adaround,
    "bias_correction": Plain,
    "bias_correction_analytic": Plain,
    "brecq": Brecq,
    "equalize": Equalize,
    "reestimate": Plain,
}


def chosen(repairs: Sequence[Chosen]) -> list[tuple[str, StepConfig]]:
    """The repairs of a recipe, each a name or `{name: {option: value}}`, with their options.

    Raises:
        ValueError: a repair or an option that there is not; the message says what there is.
    """
    found = []
    for one in repairs:
        given = {one: {}} if isinstance(one, str) else one
        if len(given) != 1:
            raise ValueError("each repair is a name, or a name with its options: {adaround: {iterations: 500}}")
        ((name, options),) = given.items()
        if name not in OPTIONS:
            error = UnknownName.of("repair", name, OPTIONS)
            raise ValueError(f"{error.problem}; {error.remedy}")
        try:
            found.append((name, OPTIONS[name].model_validate(options)))
        except ValidationError as error:
            first = error.errors()[0]
            at = ".".join(map(str, first["loc"]))
            there = ", ".join(OPTIONS[name].model_fields)
            raise ValueError(f"{name}: {at}: {first['msg']}; options: {there or 'none'}") from error
    return found
