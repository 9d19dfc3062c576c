"""Channel pruning: layers keep their most important channels, and become smaller ordinary layers.

What must go together is found by dependency (Fang et al. 2023, arXiv:2301.12900) and proved (`proof`). How many
channels each group keeps is chosen so that the network loses least within one budget (`widths`); which ones, by their
importance (`importance`); the layers that read them make up for the others (`compensate`).
"""

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import ConfigDict, Field, model_validator

from paring.core.errors import ParingError
from paring.core.model import Model
from paring.core.step import Context, Phase, StepConfig
from paring.train.config import RecoverConfig


class GrowingConfig(RecoverConfig):
    """Options of `sparse_learning`: a training before the cut, while what will be cut fades out."""

    strength: float = Field(0.05, gt=0, le=1)
    """Share that the last step takes off the weights that will go; it grows from 0 in equal parts."""


class CutConfig(StepConfig):
    """Which channels may go, what matters in them, and what becomes of the others.

    Patterns are shell patterns on names of layers (`blocks.3.*`), or `@` and a kind: `@first`, `@conv`, `@depthwise`,
    `@linear`.
    """

    model_config = ConfigDict(use_attribute_docstrings=True)

    importance: Literal["elimination", "l1", "l2", "bn_scale", "taylor", "fpgm", "lamp", "random"] = "elimination"
    """Which channels of a group matter: `elimination` asks the layers that read them, or `l2` where none can tell."""
    round_to: int = Field(8, ge=1)
    """Groups keep a multiple of so many channels, or all; those that have no more keep all."""
    floor: float = Field(0.1, gt=0, le=1)
    """Least share of its channels that a group keeps."""
    min_channels: int = Field(1, ge=1)
    """Least number of channels that a group keeps."""
    only: tuple[str, ...] = ()
    """Patterns of layers whose channels may be cut; empty for all."""
    keep: tuple[str, ...] = ()
    """Patterns of layers that keep their channels, and with them all that depend on these."""
    samples: int | None = Field(None, ge=2)
    """Calibration samples of the scan; None for 8 to 256, fewer of a larger network, so that it ends in good time."""
    readout: bool = False
    """Whether the scan fits the last layer anew to each trial, so that a loss which training soon makes good does not
    count."""
    compensate: bool = True
    """Whether layers that read the channels are refitted to do without them (16 to 256 calibration samples)."""
    reestimate: bool = True
    """Whether batch norms take their statistics anew (32 to 1024 calibration samples)."""


class ChannelsConfig(CutConfig):
    """Options of `prune.channels`. Its budget is exactly one of `macs`, `parameters`, `latency` and `size`."""

    macs: float | None = Field(None, gt=0, lt=1)
    """Share of the multiply–accumulates that stays, e.g. 0.5."""
    parameters: float | None = Field(None, gt=0, lt=1)
    """Share of the parameters that stays."""
    latency: str | None = None
    """The most that one inference may take on the first target, a time (`0.2 ms`) or of the model before (`0.6x`)."""
    size: str | None = None
    """The most that the file of the first target may take, e.g. `400 KiB`."""
    widths: Literal["sensitivity", "global", "uniform"] = "sensitivity"
    """How many channels each group keeps: by a scan of what the answers lose, by one ranking of all channels, or the
    same share of each."""
    sparse_learning: GrowingConfig | None = None
    """Training before each cut, while what will be cut fades out (growing regularization); None for none."""
    rounds: int = Field(1, ge=1)
    """Cuts, each by the same factor, on the way to the budget; `recover` follows each of them."""
    recover: RecoverConfig | None = None
    """Training after each cut; None for none."""

    @model_validator(mode="after")
    def _one_budget(self) -> "ChannelsConfig":
        given = [name for name in ("macs", "parameters", "latency", "size") if getattr(self, name) is not None]
        if len(given) != 1:
            told = " and ".join(given) if given else "none is given"
            raise ValueError(f"the budget is exactly one of macs, parameters, latency and size: {told}")
        from paring.steps.goal import check

        check(self.latency, self.size)
        return self

    @property
    def measures(self) -> bool:
        """Whether the budget is measured on the target."""
        return self.latency is not None or self.size is not None


class PruneChannels:
    """`prune.channels`. Contract: `paring.core.step.Step`."""

    name: ClassVar[str] = "prune.channels"
    phase: ClassVar[Phase] = Phase.STRUCTURE
    Config: ClassVar[type[StepConfig]] = ChannelsConfig

    def apply(self, model: Model, config: ChannelsConfig, context: Context) -> Model:
        """The model with fewer channels.

        Raises:
            ParingError: the model is quantized, nothing of it can be cut, a pattern matches no layer, the budget needs
                a target and there is none, or it cannot be met: the message says what can.
        """
        self._refuse(model)
        from paring.steps.prune.structure.rounds import pruned

        return pruned(model, config, context, self.name)

    def acts_on(self, model: Model) -> Mapping[str, str | None]:
        """Layers whose channels can be cut; others with the reason why not."""
        self._refuse(model)
        from paring.steps.prune.structure.proof import prunable

        structure = prunable(model)
        return {
            **structure.skipped,
            **{layer: None for group in structure.groups for layer in group.layers},
        }

    def _refuse(self, model: Model) -> None:
        if model.fixed:
            raise ParingError(
                "a quantized model cannot lose channels: its scales are fixed",
                self.name,
                "place prune.channels before the quantization step",
            )
