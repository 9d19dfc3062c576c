"""Mixed precision: each layer gets the bits that it needs, within a limit on size or on the loss of accuracy.

What a layer loses is the noise in the network's answers when it alone rounds; the losses of layers are taken to add up,
as independent noise does (Dong et al. 2020, "HAWQ-V2", arXiv:1911.03852, section 3.2, does the like with the trace of
the Hessian). The assignment is the exact optimum of that model.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pydantic import model_validator

from paring.core.errors import ParingError
from paring.core.model import Model
from paring.core.step import Context, StepConfig
from paring.recipes.quantity import budget
from paring.steps.quantize.scheme import BITS, FLOAT, INT8, LayerChoice, Precision

if TYPE_CHECKING:
    from paring.steps.quantize.static import StaticConfig

WIDE = Precision(activations="int16")
CHOICES = (FLOAT, WIDE, INT8, Precision(weights="int4"))
JUDGED = 64  # calibration samples that a layer's loss is judged by
TRIALS = 7  # assignments that are judged on the validation split, where the loss of accuracy is limited
WIDER = 1e-3  # bytes, for a number whose layer computes in int16: of two equal sizes the narrower activations
NARROWEST = 1e-6  # of the largest noise: below it no difference can be seen on a validation split


class MixedConfig(StepConfig):
    """The limit; one of the two.

    Attributes:
        size: the most that weights with their scales may take, e.g. `300 KiB`.
        accuracy_drop: the most that may be lost against the original on the validation split, e.g. `0.5 pt`.
        activations: the widest integers that layers may be given. No limit counts what int16 costs, in memory and in
            time, so that they are given only where they are asked for.
    """

    size: str | None = None
    accuracy_drop: str | None = None
    activations: Literal["int8", "int16"] = "int8"

    @model_validator(mode="after")
    def _one_limit(self) -> "MixedConfig":
        given = {name: text for name in ("size", "accuracy_drop") if (text := getattr(self, name)) is not None}
        if len(given) != 1:
            raise ValueError("give one of size (e.g. '300 KiB') and accuracy_drop (e.g. '0.5 pt')")
        for name, text in given.items():
            try:
                budget(name, text, "mixed")
            except ParingError as error:
                raise ValueError(error.problem) from error
        return self


@dataclass(frozen=True)
class Table:
    """What each choice costs in each layer.

    Attributes:
        layers: their names.
        choices: what each may compute with.
        noise: layer, choice -> energy of the error in the answers, of that of the answers themselves.
        bytes: layer, choice -> of its weight with its scales.
    """

    layers: Sequence[str]
    choices: Sequence[Precision]
    noise: Sequence[Sequence[float]]
    bytes: Sequence[Sequence[float]]


def assigned(model: Model, config: "StaticConfig", context: Context, where: str) -> tuple["StaticConfig", str]:
    """The options with a choice for every layer that the recipe leaves open, and a line on what was chosen.

    Raises:
        ParingError: even the fewest bits take more than the limit; a limit on the loss of accuracy without a validation
            split.
    """
    if config.mixed is None:
        return config, ""
    found = _table(model, config, context, where)
    if config.mixed.size is not None:
        choice = _within(found, budget("size", config.mixed.size, where).limit, where)
    else:
        limit = budget("accuracy_drop", str(config.mixed.accuracy_drop), where).limit
        choice = _smallest(model, config, context, found, limit)
    kinds = [found.choices[one] for one in choice]
    told = ", ".join(
        f"{sum(kind == one for kind in kinds)} layers with {one.weights} weights and {one.activations} activations"
        for one in found.choices
        if one in kinds
    )
    size = sum(row[one] for row, one in zip(found.bytes, choice, strict=True))
    return _chosen(config, found, choice), f"; mixed: {told}, {size / 1024:.1f} KiB of weights"


def _table(model: Model, config: "StaticConfig", context: Context, where: str) -> Table:
    """Each layer rounded alone, in each way that the targets can execute."""
    from paring.steps.quantize.partial import Partial, alone
    from paring.steps.quantize.static import scaled, shown

    limits = context.limits
    left_out = () if config.mixed is None or config.mixed.activations == "int16" else (WIDE,)
    choices = [
        one
        for one in CHOICES
        if one.weights in limits.weights and one.activations in limits.activations and one not in left_out
    ]
    batches = shown(model, context, min(JUDGED, config.calibration.samples))
    noise: dict[str, list[float]] = {}
    sizes: dict[str, list[float]] = {}
    for one in choices:
        if one == FLOAT:
            continue
        # which layers have one scale for all channels is seen once the bits are chosen
        granularity = "channel" if config.granularity == "auto" else config.granularity
        options = {
            "weights": one.weights, "activations": one.activations, "granularity": granularity, "repairs": (),
            "mixed": None,
        }  # fmt: skip
        with_one = scaled(model, config.model_copy(update=options), context)
        network = Partial(with_one.prepared)
        open_layers = [layer for layer in network.layers if with_one.scheme.of(layer) == one]
        with context.progress.bar(f"judge {one.weights} weights", len(open_layers)) as advance:
            for layer, lost in alone(network, open_layers, batches, lambda: advance(1, "")).items():
                noise.setdefault(layer, [0.0] if FLOAT in choices else []).append(lost)
                numbers, scales = network.weight(layer)
                sizes.setdefault(layer, [4.0 * numbers] if FLOAT in choices else []).append(
                    numbers * (BITS[one.weights] / 8 + (WIDER if one == WIDE else 0.0)) + 4.0 * scales
                )
    complete = [layer for layer, row in noise.items() if len(row) == len(choices)]
    if not complete:
        raise ParingError("the recipe leaves no layer open to choose for", f"{where}: mixed", "loosen layers")
    return Table(complete, choices, [noise[one] for one in complete], [sizes[one] for one in complete])


def _within(found: Table, limit: float, where: str) -> list[int]:
    from paring.steps.assign import assign

    least = sum(min(row) for row in found.bytes)
    if least > limit:
        raise ParingError(
            f"with the fewest bits that the targets execute the weights take {least / 1024:.1f} KiB, "
            f"the limit is {limit / 1024:.1f} KiB",
            f"{where}: mixed: size",
            "raise the limit, or prune first",
        )
    choice = assign(found.noise, found.bytes, limit)
    if _in_float(found, choice):
        raise ParingError(
            f"every layer may stay in float: its weights take {sum(row[0] for row in found.bytes) / 1024:.1f} KiB",
            f"{where}: mixed: size",
            "lower the limit, or leave mixed out",
        )
    return choice


def _smallest(model: Model, config: "StaticConfig", context: Context, found: Table, drop: float) -> list[int]:
    """The smallest assignment that holds on the validation split, by bisection over the noise that is allowed."""
    from paring.steps.assign import assign
    from paring.steps.quantize.static import scaled
    from paring.train.evaluate import Judge

    judge = Judge(context.original, context.task)
    judged: dict[tuple[int, ...], float] = {}

    def holds(choice: list[int]) -> bool:
        one = tuple(choice)
        if one not in judged:
            judged[one] = judge.drop(scaled(model, _chosen(config, found, choice), context).model())
            context.progress.note(f"mixed precision: {-judged[one]:+.2f} pt of validation accuracy")
        return judged[one] <= drop

    least = sum(min(row) for row in found.noise)
    high = sum(max(row) for row in found.noise)
    choice = assign(found.bytes, found.noise, high)
    if holds(choice):
        return choice
    best, low = _finest(found), max(least, high * NARROWEST)
    for _ in range(TRIALS):  # by halves of the logarithm: noise spans orders of magnitude
        middle = (low * high) ** 0.5
        choice = assign(found.bytes, found.noise, max(middle, least))
        if _in_float(found, choice):  # so little noise that nothing could round
            low = middle
        elif holds(choice):
            best, low = choice, middle
        else:
            high = middle
    return best


def _finest(found: Table) -> list[int]:
    """What loses least, and still rounds."""
    rounding = [i for i, one in enumerate(found.choices) if one != FLOAT]
    return [min(rounding, key=lambda i: row[i]) for row in found.noise]


def _in_float(found: Table, choice: Sequence[int]) -> bool:
    return all(found.choices[one] == FLOAT for one in choice)


def _chosen(config: "StaticConfig", found: Table, choice: Sequence[int]) -> "StaticConfig":
    layers: Mapping[str, LayerChoice] = {
        layer: LayerChoice(weights=found.choices[one].weights, activations=found.choices[one].activations)
        for layer, one in zip(found.layers, choice, strict=True)
    }
    return config.model_copy(update={"layers": {**layers, **config.layers}, "mixed": None})
