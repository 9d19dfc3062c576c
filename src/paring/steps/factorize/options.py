"""Options that the steps on low rank share."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, model_validator

from paring.core.step import StepConfig
from paring.train.config import RecoverConfig

_RULES = ("energy", "rank", "ratio", "vbmf", "macs", "parameters", "latency")
Rank = Annotated[int, Field(ge=1)]


class LowRankConfig(StepConfig):
    """Options of the steps `factorize.…`. Exactly one rule for the ranks: `energy`, `rank`, `ratio` or `vbmf`, which
    look at each layer alone, or a budget of the network, `macs`, `parameters` or `latency`, which is spread over the
    layers so that the answers change least.

    Patterns are shell patterns on names of layers (`blocks.3.*`), or `@` and a kind: `@linear`, `@conv`, `@pointwise`,
    `@embedding`, `@first`, `@last`.
    """  # noqa: D205

    model_config = ConfigDict(use_attribute_docstrings=True)

    energy: float | None = Field(None, gt=0, lt=1)
    """Share of a layer's energy that its factors keep, e.g. 0.95: of its squared values or, with `data_aware`, of its
    squared outputs."""
    rank: Rank | tuple[Rank, Rank] | None = None
    """The rank itself, of every layer."""
    ratio: float | None = Field(None, gt=0, lt=1)
    """The most of a layer's parameters that its factors have, as a share."""
    vbmf: bool = False
    """Whether analytic variational Bayes tells signal from noise in each weight."""
    macs: float | None = Field(None, gt=0, lt=1)
    """Share of the network's multiply–accumulates that stays at most."""
    parameters: float | None = Field(None, gt=0, lt=1)
    """Share of the network's parameters that stays at most."""
    latency: str | None = None
    """The most that one inference may take on the first target, a time (`0.2 ms`) or of the model before (`0.6x`)."""
    round_to: int = Field(8, ge=1)
    """Ranks that a rule or a budget chooses are multiples of this."""
    only: tuple[str, ...] = ()
    """Patterns of layers that may be taken apart; empty for all."""
    keep: tuple[str, ...] = ()
    """Patterns of layers that stay as they are."""
    data_aware: bool = True
    """Whether an error counts by what it does to a layer's outputs on calibration samples, not by its own size."""
    samples: int | None = Field(None, ge=1)
    """Calibration samples, for `data_aware` and for the scan of a budget; None for as many as end in good time."""
    slower: Literal["leave", "allow"] = "leave"
    """What becomes of a layer whose factors, alone on the first target, run slower than it does: `leave` measures them
    where there is a target, and leaves it as it is."""
    reestimate: bool = True
    """Whether batch norms take their statistics anew (32 to 1024 calibration samples)."""
    recover: RecoverConfig | None = None
    """Training afterwards; None for none."""

    @model_validator(mode="after")
    def _one_rule(self) -> "LowRankConfig":
        given = [name for name in _RULES if getattr(self, name) not in (None, False)]
        if len(given) != 1:
            told = " and ".join(given) if given else "none is given"
            raise ValueError(f"the ranks follow exactly one of {', '.join(_RULES)}: {told}")
        from paring.steps import goal

        goal.check(self.latency, None)
        return self

    @property
    def budget(self) -> Literal["macs", "parameters", "latency"] | None:
        """Which of the network's budgets is given; None where each layer is looked at alone."""
        names: tuple[Literal["macs", "parameters", "latency"], ...] = ("macs", "parameters", "latency")
        return next((name for name in names if getattr(self, name) is not None), None)

    @property
    def measures(self) -> bool:
        """Whether layers, or the network, are measured on the target."""
        return self.latency is not None or self.slower == "leave"
