"""Why a quantized file answers otherwise than the float model: layer by layer, from what the runtime gives."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from paring import opening
from paring.core.errors import ParingError, UnknownName
from paring.core.model import Json, Model
from paring.core.step import Progress
from paring.core.target import Array, Describes, Target, Traces
from paring.core.task import Task
from paring.load import saved
from paring.measure.accuracy import sqnr
from paring.recipes.read import read
from paring.report import Bars, Sheet, write_findings
from paring.steps.quantize import fixed
from paring.steps.quantize.causes import Facts, cause
from paring.steps.quantize.facts import facts_of
from paring.steps.quantize.partial import Inputs, Partial, noise, unrounded, without


@dataclass(frozen=True, slots=True)
class LayerDiagnosis:
    """One quantized layer.

    Attributes:
        layer: its name.
        kind: `conv`, `depthwise` or `linear`.
        weights: type of its weight.
        runtime: SQNR of its output in the runtime against the float network, dB; what layers before it lost is in it.
        itself: SQNR of the network's answers when it alone rounds, dB.
        gain: what the SQNR of the network's answers gains when it alone returns to float, dB.
        cause: the likely reason, in words.
        remedy: the next thing to try.
    """

    layer: str
    kind: str
    weights: str
    runtime: float
    itself: float
    gain: float
    cause: str
    remedy: str


COLUMNS = ("layer", "kind", "in the runtime, dB", "by itself, dB", "gain, dB", "likely cause", "try")


@dataclass(frozen=True)
class Diagnosis:
    """What `diagnose` gives.

    Attributes:
        artifact: the file.
        target: whose it is.
        samples: of the validation split that it rests on.
        sqnr: of the file's answers against the float model's, dB.
        simulated: of the quantized network's answers in PyTorch, dB.
        agreement: share of samples on which file and float model choose the same class.
        layers: the one whose return to float gains most first.
        in_float: (operator, tensor) of each operator that the file computes in float.
        left: layers that quantization left in float, each with the reason.
        note: what a reader must know of these figures; empty otherwise.
    """

    artifact: Path
    target: str
    samples: int
    sqnr: float
    simulated: float
    agreement: float
    layers: Sequence[LayerDiagnosis]
    in_float: Sequence[tuple[str, str]]
    left: Mapping[str, str]
    note: str = ""

    @property
    def facts(self) -> tuple[str, ...]:
        """What holds for the whole file, a line each."""
        return (
            f"{self.artifact.name} in {self.target}, {self.samples} validation samples",
            f"answers: {self.sqnr:.1f} dB against float ({self.simulated:.1f} dB in PyTorch), "
            f"the same class on {100 * self.agreement:.1f} %",
            *(f"in float: {operator} ({tensor})" for operator, tensor in self.in_float),
            *(f"left in float: {layer}: {reason}" for layer, reason in self.left.items()),
            *((self.note,) if self.note else ()),
        )

    @property
    def rows(self) -> list[tuple[str, ...]]:
        """The layers as text, under `COLUMNS`."""
        return [
            (
                one.layer,
                f"{one.kind} {one.weights}",
                "–" if math.isnan(one.runtime) else f"{one.runtime:.1f}",
                f"{one.itself:.1f}",
                f"{one.gain:+.2f}",
                one.cause,
                one.remedy,
            )
            for one in self.layers
        ]

    def sheet(self) -> Sheet:
        """The page that shows it."""
        bars = Bars(
            "What the network gains when one layer returns to float",
            "dB",
            {"gain": [one.gain for one in self.layers]},
            [one.layer for one in self.layers],
        )
        return Sheet("Diagnosis", self.facts, COLUMNS, self.rows, bars)

    def as_json(self) -> dict[str, Json]:
        """Plain data."""
        layers = [{**asdict(one), "runtime": None if math.isnan(one.runtime) else one.runtime} for one in self.layers]
        return {**asdict(self), "artifact": str(self.artifact), "layers": layers, "schema": "paring.diagnosis/1"}


def of_run(run: Path, target: str | None, samples: int, progress: Progress) -> Diagnosis:
    """Diagnoses the quantized file of a run; writes `diagnosis.json` and, where Plotly is installed, `.html` into it.

    Raises:
        ParingError: no run directory, nothing in it is quantized, or its target cannot tell.
    """
    recipe, lines = read(run / "recipe.yaml")
    task = opening.task(recipe.data, recipe.model)
    steps = sorted(folder for folder in (run / "steps").iterdir() if (folder / "model.safetensors").is_file())
    quantized = next((i for i, folder in enumerate(steps) if saved.load(folder).quantized), None)
    if quantized is None:
        raise ParingError("no step of this run quantizes", str(run), "add quantize.static to the recipe")
    before = saved.load(steps[quantized - 1]) if quantized else opening.model(recipe, task)
    there = {one.name: one for one, _ in opening.targets(recipe, lines)[1]}
    chosen = target or next((name for name, one in there.items() if isinstance(one, Traces)), next(iter(there)))
    if chosen not in there:
        raise UnknownName.of("target of this run", chosen, there, where=str(run))
    artifact = run / "artifacts" / chosen / f"model{there[chosen].suffix}"
    if not artifact.exists():
        raise ParingError("there is no such file", str(artifact), "run `paring compress` again")
    found = diagnose(before, saved.load(steps[-1]), there[chosen], artifact, task, samples, progress)
    write_findings(run, "diagnosis", found.as_json(), found.sheet(), progress)
    return found


def diagnose(
    before: Model, model: Model, target: Target, artifact: Path, task: Task, samples: int, progress: Progress
) -> Diagnosis:
    """Compares an exported file with the float model that it came from.

    Args:
        before: the model as it was before its quantization.
        model: quantized.
        target: whose file it is.
        artifact: exported from `model`.
        task: gives samples of its validation split.
        samples: how many.
        progress: shows how far it has come.

    Raises:
        ParingError: the target cannot tell what its layers give, the model is not quantized, or the split is empty.
    """
    if not isinstance(target, Traces):
        raise ParingError(
            f"{target.name} cannot tell what its layers give",
            str(artifact),
            "diagnose the file of another target: the scales are the same",
        )
    if not task.size("validation"):
        raise ParingError("the validation split is empty", task.name, "give the data set more samples")
    prepared, scheme = fixed.reopened(before, model)
    network = Partial(prepared)
    batches = [batch.inputs for batch in task.batches("validation", 32, limit=samples)]
    given: list[Inputs] = [tuple(batch[spec.name] for spec in model.inputs) for batch in batches]
    arrays = {spec.name: np.concatenate([batch[spec.name].numpy() for batch in batches]) for spec in model.inputs}

    outputs = [network.outputs(inputs) for inputs in given]
    floats = {layer: torch.cat([one[layer] for one in outputs]) for layer in network.layers if layer in outputs[0]}
    traced = target.trace(artifact, model, arrays)
    answers = next(iter(target.open(artifact).run(arrays).values()))
    wanted = torch.cat([next(iter(before(batch).values())) for batch in batches]).numpy()

    references = unrounded(network, given)
    every = noise(network, lambda layer: True, references, given)
    with progress.bar("rank layers", 2 * len(network.layers)) as advance:
        others = without(network, network.layers, given, lambda: advance(1, ""))
        single = {}
        for layer in network.layers:
            single[layer] = noise(network, {layer}.__contains__, references, given)
            advance(1, "")
    layers = []
    for layer in network.layers:
        facts: Facts = facts_of(network, layer, scheme, floats.get(layer))
        why, remedy = cause(facts)
        layers.append(
            LayerDiagnosis(
                layer, facts.kind, scheme.of(layer).weights, _against(floats.get(layer), traced.get(layer)),
                _decibels(single[layer]), _decibels(others[layer]) - _decibels(every), why, remedy,
            )
        )  # fmt: skip
    layers.sort(key=lambda one: -one.gain)
    return Diagnosis(
        artifact, target.name, len(answers), sqnr(wanted, answers), _decibels(every),
        float((wanted.argmax(-1) == answers.argmax(-1)).mean()), layers,
        target.describe(artifact).in_float if isinstance(target, Describes) else (),
        {one.layer: one.reason for one in model.history[-1].skipped}, _note(model),
    )  # fmt: skip


def _against(wanted: torch.Tensor | None, found: Array | None) -> float:
    """SQNR, dB; NaN where the runtime does not tell of the layer."""
    if wanted is None or found is None or wanted.numel() != found.size:
        return math.nan
    return sqnr(wanted.numpy(), found.reshape(tuple(wanted.shape)))


def _decibels(share: float) -> float:
    return -10 * math.log10(max(share, 1e-12))


def _note(model: Model) -> str:
    given = model.history[-1].config.get("repairs", ())
    repairs = {"adaround", "brecq"} & {name for one in given for name in ([one] if isinstance(one, str) else one)}
    if not repairs:
        return ""
    return (
        f"{' and '.join(sorted(repairs))} put weights onto their grid: "
        "a layer's return to float undoes the rounding of its output only."
    )
