"""The rungs of static quantization's ladder, from what costs seconds to what costs a training."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from paring.core.model import Model
from paring.core.step import ORIGINAL, Context
from paring.steps.quantize.ladder import Climb, Rung, climb
from paring.steps.quantize.repairs.options import chosen
from paring.steps.quantize.static import SchemeConfig, StaticConfig, scaled, shown

CALIBRATIONS = ("mse", "percentile", "entropy")
REPAIRS = (("bias_correction",), ("adaround", "bias_correction"))
FLOATS = (1, 2, 4, 8)  # how many of the worst layers go back to float
RANKED = 64  # calibration samples that layers are ranked by


def climbed(model: Model, config: StaticConfig, drop: float, context: Context) -> Model:
    """The model of the first rung that loses at most `drop` points, or else the best; its history tells of each."""
    if config.ladder is None:
        raise ValueError("the recipe wants no ladder")
    found, reached = climb(partial(rungs, model, config, context), config.ladder, drop, context)
    return found.told(f"; {reached}")


def rungs(model: Model, config: StaticConfig, context: Context, reached: Climb) -> Iterator[Rung]:
    """Each rung builds on what lost least so far."""
    configs = {"": config}

    def rung(name: str, config: StaticConfig) -> Rung:
        configs[name] = config
        return Rung(name, lambda: scaled(model, config, context).model())

    yield rung("as the recipe asks", config)
    for method in CALIBRATIONS:
        if method != config.calibration.method:
            better = config.calibration.model_copy(update={"method": method, "weights": "mse"})
            yield rung(f"calibration by {method}", config.model_copy(update={"calibration": better}))
    calibrated = configs[reached.best]
    for repairs in REPAIRS:
        if set(repairs) - {name for name, _ in chosen(calibrated.repairs)}:
            yield rung(" and ".join(repairs), calibrated.model_copy(update={"repairs": repairs}))
    repaired = configs[reached.best]
    worst = _worst(model, repaired, context) if "float32" in context.limits.activations else []
    for count in FLOATS:
        if count < len(worst):
            kept = (*repaired.keep_float, *worst[:count])
            name = f"{', '.join(worst[:count])} in float" if count < 3 else f"the {count} worst layers in float"
            yield rung(name, repaired.model_copy(update={"keep_float": kept}))
    if config.ladder is not None and config.ladder.training and context.task.size("train"):
        yield Rung("training", lambda: _trained(model, config, context))


def _trained(model: Model, config: StaticConfig, context: Context) -> Model:
    """By quantization-aware training with the bits that the recipe asks for, and the original as teacher."""
    from paring.steps.quantize.qat import QatConfig, QuantizeAware

    scheme = {name: getattr(config, name) for name in SchemeConfig.model_fields}
    options = QatConfig(**scheme, teacher=(ORIGINAL,))
    return QuantizeAware().apply(model, options, replace(context, directory=context.directory / "training"))


def _worst(model: Model, config: StaticConfig, context: Context) -> list[str]:
    """The layers that round, the one whose return to float gains most first."""
    from paring.steps.quantize.partial import Partial, without

    network = Partial(scaled(model, config, context).prepared)
    batches = shown(model, context, min(RANKED, config.calibration.samples))
    with context.progress.bar("rank layers", len(network.layers)) as advance:
        found = without(network, network.layers, batches, lambda: advance(1, ""))
    return sorted(found, key=lambda layer: found[layer])
