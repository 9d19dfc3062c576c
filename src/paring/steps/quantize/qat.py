"""Quantization-aware training: the network rounds while it is trained, and learns to answer well in spite of it.

`plain` is Jacob et al. 2018, arXiv:1712.05877, section 3; `lsq` learns the step sizes (Esser et al. 2020,
arXiv:1902.08153), and the offsets of activations with values on both sides of 0 (Bhalgat et al. 2020,
arXiv:2004.09576). What comes out is what `quantize.static` gives: the same graph, the same kind of scales.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import Field, model_validator

from paring.core.model import Model
from paring.core.step import Context, Phase, StepConfig
from paring.steps.quantize.static import Calibration, SchemeConfig, quantizable, refuse, scheme_of
from paring.train.config import TaughtConfig

if TYPE_CHECKING:
    from torch import nn


class QatConfig(SchemeConfig, TaughtConfig):
    """Options of `quantize.qat`: those of training and those of a scheme, and a few of its own."""

    default_epochs: ClassVar[int] = 3

    method: Literal["plain", "lsq"] = "lsq"
    """How scales move: `plain` follows the extremes, `lsq` learns step sizes by gradient."""
    freeze_batch_norm: float = Field(0.5, ge=0, le=1)
    """Share of the steps after which batch norm keeps its statistics (and `plain` its ranges): 0 at once, 1 never."""
    learning_rate: float = Field(0.01, gt=0)
    """Peak of the schedule, per step."""
    precision: Literal["float32"] = "float32"
    """Type of the arithmetic; bfloat16 has too few digits to tell 256 codes apart."""
    calibration: Calibration = Calibration(method="mse")
    """How the ranges are found that training begins with."""

    @model_validator(mode="after")
    def _answers_alone(self) -> Self:
        if self.features:
            raise ValueError("features are not learned while a network rounds: leave them out, or distil before")
        return self


class QuantizeAware:
    """`quantize.qat`. Contract: `paring.core.step.Step`."""

    name: ClassVar[str] = "quantize.qat"
    phase: ClassVar[Phase] = Phase.QUANTIZATION
    Config: ClassVar[type[StepConfig]] = QatConfig

    def apply(self, model: Model, config: QatConfig, context: Context) -> Model:
        """The model trained with its rounding, integer scales fixed.

        Raises:
            ParingError: as `quantize.static`; the model does not fit the task; two layers share a weight; the training
                diverges, and its last good state stays in the step's folder.
        """
        from paring.steps.quantize import fixed, graph
        from paring.steps.quantize.aware import network
        from paring.steps.quantize.joins import calibrated
        from paring.train.distillation.distillation import taught
        from paring.train.evaluate import evaluate
        from paring.train.history import told
        from paring.train.loop import fit
        from paring.train.zeros import Zeros

        refuse(model, config, context, self.name)
        captured = graph.capture(model)
        norms = network.norms(captured)
        learned = frozenset(name for name, parameter in captured.named_parameters() if parameter.requires_grad)
        there = dict(captured.named_parameters())
        folded = graph.fold(captured, of=model)
        learned |= {name for name, _ in folded.named_parameters() if name not in there}  # of a batch norm by itself
        scheme = scheme_of(config, folded, self.name)
        marks = fixed.annotator(scheme, config.calibration.method, config.calibration.weights)
        prepared, _ = calibrated(folded, marks, model, config.calibration.samples, context, self.name)
        fixed.refuse_float(model, marks.layers, marks, self.name)

        rounding = network.trainable(prepared, norms, config.method, learned)
        frozen_from = config.freeze_batch_norm * config.length(context.task.size("train") // config.batch_size)
        zeros = Zeros(rounding, model.invariants)

        def between_steps(module: "nn.Module", done: int) -> None:
            zeros(module)
            if done >= frozen_from:
                network.freeze(module)

        before = evaluate(model, context.task, "validation") if context.task.size("validation") else None
        fitted = fit(
            replace(model, module=rounding), context.task, config, seed=context.seed, directory=context.directory,
            progress=context.progress, between_steps=between_steps,
            objective=taught(model, config, context, before, context.directory),
        )  # fmt: skip
        network.put_back(fitted.module, prepared)
        trained = f", trained ({config.method}) {told(config, fitted, before)}"
        return fixed.quantized(model, prepared, scheme, marks, self.name, config, trained)

    def acts_on(self, model: Model) -> Mapping[str, str | None]:
        """Layers whose weights become int8; others with the reason why they stay in float."""
        return quantizable(model)
