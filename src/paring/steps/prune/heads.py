"""Attention heads and feed-forward units of transformers that matter least are cut out.

Michel et al. 2019, "Are Sixteen Heads Really Better than One?", arXiv:1905.10650; Molchanov et al. 2019, "Importance
Estimation for Neural Network Pruning", arXiv:1906.10771. See `gates` for what makes a unit matter.
"""

import copy
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from paring.core.errors import ParingError
from paring.core.model import Event, Model, Skipped
from paring.core.step import Context, Phase, StepConfig
from paring.core.target import one_sample
from paring.steps.select import Choosable, select
from paring.train.config import RecoverConfig

if TYPE_CHECKING:
    from torch import Tensor, nn

    from paring.steps.prune.structure.attention import Units

_AGREE = 1e-4  # of the largest answer; float32 sums in another order differ by less
Share = Annotated[float, Field(gt=0, le=1)]


class HeadsConfig(StepConfig):
    """Options of `prune.heads`; at least one of `heads` and `feed_forward`.

    Patterns are shell patterns on names of layers (`*.layer.3`), or `@` and a kind: `@heads`, `@feed_forward`.

    Attributes:
        heads: how many are to stay: a share (0.5), or their number (6). Of every layer, or with `scope: global` of all
            layers together.
        feed_forward: the share of the units between the two feed-forward layers that is to stay.
        round_to: the width of a feed-forward layer becomes a multiple of this, if it is cut at all.
        importance: which go: those that change the loss least (`taylor`), those of small weights (`magnitude`), or any
            (`random`, a control).
        scope: whether every layer loses its share, or the least important of all layers go, one of each layer staying.
        samples: of the calibration split, for `taylor`.
        only: patterns of what may be cut; everything if empty.
        keep: patterns of what stays whole, and does not count in a share.
        recover: how the network is trained afterwards; None leaves it as cut.
    """

    heads: Annotated[int, Field(ge=1)] | Share | None = None
    feed_forward: Share | None = None
    round_to: int = Field(default=8, ge=1)
    importance: Literal["taylor", "magnitude", "random"] = "taylor"
    scope: Literal["layer", "global"] = "layer"
    samples: int = Field(default=256, ge=1)
    only: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()
    recover: RecoverConfig | None = None

    @model_validator(mode="after")
    def _something_to_do(self) -> Self:
        if self.heads is None and self.feed_forward is None:
            raise ValueError("give heads, feed_forward or both: how much of them is to stay")
        return self


class PruneHeads:
    """`prune.heads`. Contract: `paring.core.step.Step`."""

    name: ClassVar[str] = "prune.heads"
    phase: ClassVar[Phase] = Phase.STRUCTURE
    Config: ClassVar[type[StepConfig]] = HeadsConfig

    def apply(self, model: Model, config: HeadsConfig, context: Context) -> Model:
        """The model with fewer heads and narrower feed-forward layers.

        Raises:
            ParingError: the model is quantized, or has nothing that can be cut; heads do not divide as asked; the
                network does not work as the names of its layers promise; there are no calibration data.
            UnknownName: a pattern matches nothing.
        """
        from paring.steps import shapes
        from paring.steps.prune.structure import attention, unpack
        from paring.train.recovery import recovered

        self._refuse(model)
        found, refused = self._chosen(model, config)
        model = unpack.opened(model, {one.name for one in found})
        kept = self._kept(model, found, config, context)
        module, silent = copy.deepcopy(model.module), copy.deepcopy(model.module)
        for one in found:
            attention.cut(module, one, kept[one.name])
            attention.silence(silent, one, kept[one.name])
        _prove(model, silent, module, self.name)
        skipped = [*refused.items(), *((n.name, "all of it stays") for n in found if len(kept[n.name]) == n.count)]
        event = Event(
            self.name, config.model_dump(mode="json"), _told(found, kept), tuple(Skipped(*one) for one in skipped)
        )
        return recovered(shapes.cut(model, module, event), config.recover, context)

    def acts_on(self, model: Model) -> Mapping[str, str | None]:
        """Attentions and feed-forward layers; of those that cannot be cut, the reason."""
        self._refuse(model)
        found, refused = self._found(model)
        return {**{name: why for name, (_, why) in refused.items()}, **dict.fromkeys(one.name for one in found)}

    def _found(self, model: Model) -> "tuple[list[Units], dict[str, tuple[str, str]]]":
        """What can be cut; what cannot -> its kind, and why not."""
        from paring.steps.prune.structure import attention, unpack
        from paring.steps.prune.structure.standing import standing

        opened = unpack.opened(model)
        found, refused = attention.find(opened.module)
        sound, unsound = standing(opened, found)
        return sound, {
            **{name: ("heads", why) for name, why in refused.items()},
            **{one.name: (one.kind, why) for one, why in unsound},
        }

    def _refuse(self, model: Model) -> None:
        if model.fixed:
            raise ParingError(
                "a quantized model cannot be cut: its scales are fixed", self.name, "place it before quantization"
            )

    def _chosen(self, model: Model, config: HeadsConfig) -> "tuple[list[Units], dict[str, str]]":
        """What the options choose: units to cut, and those that cannot be, with the reason."""
        found, refused = self._found(model)
        there = [Choosable(one.name, frozenset({one.kind})) for one in found]
        there += [Choosable(name, frozenset({kind})) for name, (kind, _) in refused.items()]
        if not there:
            raise ParingError(
                "has neither attention nor feed-forward layers whose names are known",
                str(model.source),
                "prune.channels or prune.blocks; `paring inspect` shows what a step acts on",
            )
        chosen = set(select(config.only or ("*",), there, f"{self.name}: only"))
        chosen -= set(select(config.keep, there, f"{self.name}: keep"))
        asked = {kind for kind in ("heads", "feed_forward") if getattr(config, kind) is not None}
        units = [one for one in found if one.name in chosen and one.kind in asked]
        reasons = {name: why for name, (kind, why) in refused.items() if name in chosen and kind in asked}
        for kind in sorted(asked - {one.kind for one in units}):
            why = [f"{name}: {why}" for name, why in reasons.items() if refused[name][0] == kind]
            told = "; ".join(why[:3])
            raise ParingError(
                f"nothing is chosen that {kind} could be taken from{told and f' ({told})'}",
                f"{self.name}: {kind}",
                f"leave {kind} out, or choose other layers",
            )
        return units, reasons

    def _kept(
        self, model: Model, found: "Sequence[Units]", config: HeadsConfig, context: Context
    ) -> "dict[str, Tensor]":
        """Name of the units -> those that stay."""
        from paring.steps.prune.structure import allot, gates

        kinds = [("heads", config.heads), ("feed_forward", config.feed_forward)]
        plans = []  # before the scores, which take long: it finds what cannot be
        for kind, wanted in kinds:
            if wanted is not None:
                units = [one for one in found if one.kind == kind]
                left = allot.budget(units, wanted, config.round_to, config.scope, f"{self.name}: {kind}")
                plans.append((units, left))
        scores = gates.scores(model, found, config.importance, config.samples, context, self.name)
        kept: dict[str, Tensor] = {}
        for units, left in plans:
            kept |= allot.staying(units, scores, left, config.round_to, config.scope)
        return kept


def _prove(model: Model, silent: "nn.Module", cut: "nn.Module", where: str) -> None:
    """Raises ParingError if a network without some units answers otherwise than one that does not read them."""
    import torch

    inputs = {name: torch.from_numpy(array) for name, array in one_sample(model.inputs).items()}
    try:
        found = replace(model, module=cut.eval())(inputs)
    except Exception as error:  # a forward pass can fail in any way
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise _unlike(f"its forward pass fails without them: {reason}", where) from error
    for name, wanted in replace(model, module=silent.eval())(inputs).items():
        if found[name].shape != wanted.shape:
            raise _unlike(f"{name} has the shape {tuple(found[name].shape)}, not {tuple(wanted.shape)}", where)
        difference, largest = float((found[name] - wanted).abs().max()), float(wanted.abs().max())
        if not difference <= _AGREE * largest + 1e-7:
            raise _unlike(f"{name} differs by {difference:.2g} from what it is where they are not read", where)


def _unlike(what: str, where: str) -> ParingError:
    return ParingError(
        f"the layers are named like those of a transformer, but do not work so: {what}",
        where,
        "leave them out: keep: [PATTERN]",
    )


def _told(found: "Sequence[Units]", kept: "Mapping[str, Tensor]") -> str:
    """`6 of 12 heads stay (2 of 4 in 3 layers), 256 of 512 feed-forward units (…)`."""
    sums = []
    for kind, name in (("heads", "heads"), ("feed_forward", "feed-forward units")):
        pairs = [(len(kept[one.name]), one.count) for one in found if one.kind == kind]
        if pairs:
            each = [f"{left} of {there} in {n} layer{'s'[: n > 1]}" for (left, there), n in Counter(pairs).items()]
            left, there = (sum(column) for column in zip(*pairs, strict=True))
            sums.append(f"{left} of {there} {name} ({', '.join(each)})")
    return f"kept {', '.join(sums)}"
