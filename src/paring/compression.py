"""One run of a recipe, stage by stage; each stage is kept in the run directory and never done twice."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import paring
from paring import load
from paring.core import artifact
from paring.core.errors import ParingError
from paring.core.model import Json, Model
from paring.core.record import Record
from paring.core.rundir import Done, RunDirectory, key
from paring.core.step import Context, Named, Progress, Step, StepConfig
from paring.core.target import (
    Accompanies,
    Array,
    Describes,
    Estimates,
    ExportOptions,
    Limits,
    Runner,
    Target,
    why_not_run,
    why_not_timed,
)  # fmt: skip
from paring.core.task import Task
from paring.deployment import Deployment
from paring.load import saved
from paring.measure import machine, measurements
from paring.measure.answers import Answers
from paring.measure.serving import serving
from paring.reaching import Place
from paring.recipes.quantity import budget
from paring.recipes.recipe import Recipe
from paring.steps import keep_invariants
from paring.targets import is_artifact, of_file, parity

OPERATORS = "operators.json"
PROOF = "parity.json"
_PROVED_ON = 4  # calibration samples that a file is compared on
_HELD = "invariants"  # among the notes of a saved model: what was looked at, and holds


@dataclass(frozen=True)
class State:
    """The model before the first step or after one.

    Attributes:
        name: of the stage: `baseline`, `01-quantize.static`, ….
        key: of all that made it.
        model: gives it, from its folder if it was not made just now.
        done: its folder, which holds its answers on the test split too.
    """

    name: str
    key: str
    model: Callable[[], Model]
    done: Done

    @property
    def answers(self) -> Answers:
        """What it answers on the test split."""
        return Answers.load(self.done.path)

    @property
    def invariants(self) -> Mapping[str, int]:
        """How many of each kind were looked at after the step, and hold."""
        found: Mapping[str, int] = saved.notes(self.done.path).get(_HELD, {})
        return found


@dataclass(frozen=True)
class Export:
    """A state as a file of a target.

    Attributes:
        stage: under which its records stand: `artifact:NAME` for the result, else the state's name.
        state: what was exported.
        target: to what.
        file: the file.
        key: of all that made it.
        done: its folder.
    """

    stage: str
    state: State
    target: Target
    file: Path
    key: str
    done: Done


@dataclass(frozen=True)
class Compression:
    """What every stage of a run needs.

    Attributes:
        recipe: what is wanted.
        task: data, loss and metrics.
        targets: each with the options of its export.
        threads: that a runtime may use.
        run: where finished work is kept.
        progress: shows how far it has come.
        place: a device that latency and memory are measured on; this machine where it is None.
    """

    recipe: Recipe
    task: Task
    targets: Sequence[tuple[Target, ExportOptions]]
    threads: int
    run: RunDirectory
    progress: Progress
    place: Place | None = None

    @property
    def limits(self) -> Limits:
        """What every target can execute."""
        first, *others = (target.limits for target, _ in self.targets)
        for limits in others:
            first = first & limits
        return first

    def apply(self, model: Model, steps: Sequence[tuple[Step, StepConfig]]) -> list[State]:
        """The baseline, and the model after each step.

        Raises:
            ParingError: before anything is done, where a model that a step names cannot be had; else as the steps.
        """
        read = {one: self._identity(one) for _, config in steps for one in config.named}
        this = key("baseline", saved.digest(model), self._conditions)
        done = self.run.once("steps/00-baseline", this, partial(self._answer, model, "baseline"))
        states = [State("baseline", this, lambda: model, done)]
        for number, (step, config) in enumerate(steps, start=1):
            name = f"{number:02d}-{step.name}"
            options = config.model_dump(mode="json")
            measured_by = self._first_target if config.measures else None
            named = [read[one] for one in config.named]
            this = key(
                states[-1].key, step.name, options, self.recipe.seed, self._drop, self._conditions, measured_by, *named
            )
            made: list[Model] = []
            done = self.run.once(
                f"steps/{name}", this, partial(self._step, step, config, states[-1], model, name, this, made)
            )
            states.append(State(name, this, _later(made, done.path), done))
        return states

    def export(self, states: Sequence[State]) -> list[Export]:
        """Files of the baseline, of the states between if the recipe measures these, and of the result, per target.

        Of a target that takes quantized models alone, files of the quantized states.
        """
        *before, result = states
        kept = before if self.recipe.measure.stages == "all" else before[:1]
        found = []
        for target, options in self.targets:
            floats = "float32" in target.limits.activations
            for state in kept:  # with float ends: only the result is promised to be quantized
                if floats:
                    found.append(self._export(state, target, options.model_copy(update={"io": "float32"}), state.name))
                elif state.model().quantized:
                    found.append(self._export(state, target, options, state.name))
            found.append(self._export(result, target, options, f"artifact:{target.name}"))
        return found

    def measure(self, states: Sequence[State], exports: Sequence[Export]) -> list[Record]:
        """Every number of the run; those of unchanged stages from their folders."""
        records = []
        baseline = states[0]
        for state in states:
            records += self._kept(
                state.name, key(state.key, baseline.key), partial(self._measure_state, state, baseline)
            )
        for target, _ in self.targets:
            files = [export for export in exports if export.target is target]
            for export in files:
                this = key(export.key, export.stage, self._machine, self._conditions)
                name = f"{export.state.name}.{target.name}"
                records += self._kept(name, this, partial(self._measure_artifact, export))
            if why_not_timed(target) is not None:
                continue
            if self.recipe.measure.serving:
                this = key(files[-1].key, "serving", self._machine)
                records += self._kept(f"serving.{target.name}", this, partial(self._measure_serving, files[-1]))
            this = key([(export.key, export.stage) for export in files], self._machine)
            records += self._kept(f"latency.{target.name}", this, partial(self._measure_latency, files))
        return records

    @property
    def _drop(self) -> float | None:
        """The budget of accuracy that steps may work towards, percentage points."""
        text = self.recipe.require.accuracy_drop
        return None if text is None else budget("accuracy_drop", text, "require").limit

    @property
    def _conditions(self) -> list[Json]:
        """What any result depends on besides what it was made from."""
        return [paring.__version__, machine.versions(), self.task.identity, self.recipe.measure.test_samples]

    @property
    def _first_target(self) -> list[Json]:
        """What a step's measurements on the target depend on."""
        return [self.targets[0][0].name, *self._machine]

    @property
    def _machine(self) -> list[Json]:
        """What measurements of time and memory depend on."""
        return [self.threads, machine.cpu(), *([] if self.place is None else [self.place.address])]

    def _opened(self, named: Named) -> Model | Runner:
        """A model that a step names: of a front door, or a file in its runtime."""
        if named.model.partition(":")[0] not in load.DOORS and is_artifact(named.model):
            if named.weights is not None:
                raise ParingError("is an exported file, with weights of its own", named.model, "leave `weights` out")
            return of_file(Path(named.model)).open(Path(named.model), self.threads)
        weights = None if named.weights is None else Path(named.weights)
        return load.open(named.model, weights=weights, task=self.task, seed=self.recipe.seed)

    def _identity(self, named: Named) -> str:
        """Tells the model of a name from every other one that had, or will have, the same name."""
        found = self._opened(named)
        if isinstance(found, Model):
            return saved.digest(found)
        return artifact.digest(Path(named.model))

    def _answer(self, model: Model, name: str, folder: Path) -> None:
        measurements.collect_in_torch(model, self.task, folder, self.progress, name, self.recipe.measure.test_samples)

    def _step(
        self, step: Step, config: StepConfig, before: State, original: Model, name: str, this: str, made: list[Model],
        folder: Path,
    ) -> None:  # fmt: skip
        self.progress.note(f"{name} …")
        with self.run.workspace(name, this) as work:
            context = Context(
                self.task, self.limits, self.recipe.seed, original, work, self.progress, accuracy_drop=self._drop,
                deployed=Deployment(self.targets[0][0], self.threads, self.place, work / "deployed"),
                opened=self._opened,
            )  # fmt: skip
            found = step.apply(before.model(), config, context)
        held = keep_invariants(found)
        saved.save(found, folder / "model.safetensors", {_HELD: held})
        self._answer(found, name, folder)
        made.append(found)

    def _export(self, state: State, target: Target, options: ExportOptions, stage: str) -> Export:
        name = target.name if stage.startswith("artifact:") else f"{state.name}.{target.name}"
        this = key(state.key, target.name, options.model_dump(mode="json"), machine.versions())
        file = f"model{target.suffix}"

        def make(folder: Path) -> None:
            self.progress.note(f"export {name} …")
            with parity.watched(self._some_samples()) as watch:
                target.export(state.model(), folder / file, options)
            proofs = [{"text": str(proof), **proof.as_json()} for proof in watch.proofs]
            (folder / PROOF).write_text(json.dumps(proofs, indent=1) + "\n", encoding="utf-8")
            if isinstance(target, Describes):
                held = target.describe(folder / file)
                operators = {
                    "quantized": dict(held.quantized),
                    "in_float": [list(one) for one in held.in_float],
                    "on_processor": [list(one) for one in held.on_processor],
                }
                (folder / OPERATORS).write_text(json.dumps(operators, indent=1) + "\n", encoding="utf-8")

            if isinstance(target, Accompanies) and stage.startswith("artifact:"):
                target.accompany(folder / file)

        done = self.run.once(f"artifacts/{name}", this, make)
        return Export(stage, state, target, done.path / file, this, done)

    def _some_samples(self) -> dict[str, Array]:
        """A few calibration samples, by the inputs' names."""
        for batch in self.task.batches("calibration", _PROVED_ON, limit=_PROVED_ON):
            return {name: tensor.numpy() for name, tensor in batch.inputs.items()}
        return {}

    def _kept(self, name: str, this: str, take: Callable[[], list[Record]]) -> list[Record]:
        done = self.run.once(f"records/{name}", this, lambda folder: measurements.write(take(), folder))
        return measurements.read(done.path)

    def _measure_state(self, state: State, baseline: State) -> list[Record]:
        return measurements.of_state(state.model(), state.answers, baseline.answers, state.name)

    def _measure_artifact(self, export: Export) -> list[Record]:
        target, stage, held = export.target, export.stage, operators_in(export.done.path)
        records: list[Record] = []
        if why_not_run(target) is None:
            records += measurements.of_artifact(
                target, export.file, self.threads, self.task, export.state.answers, stage, self.progress,
                self.recipe.measure.test_samples,
            )  # fmt: skip
        records += measurements.size_of(export.file, stage)
        if why_not_timed(target) is None and self.place is None:
            records += measurements.memory_of(target, export.file, stage, self.threads)
        if isinstance(target, Estimates):
            records += target.estimate(export.file, stage)
        return records + measurements.on_integers(sum(held["quantized"].values()), len(held["in_float"]), stage)

    def _measure_serving(self, export: Export) -> list[Record]:
        self.progress.note("serving …")
        return serving(export.target, export.file, export.stage, self.threads)

    def _measure_latency(self, files: Sequence[Export]) -> list[Record]:
        if self.place is not None:
            self.progress.note(f"latency and memory on {self.place.address} …")
            return self.place.bench({one.stage: one.file for one in files}, threads=self.threads)
        self.progress.note("latency …")
        return measurements.latency({one.stage: one.target.open(one.file, self.threads) for one in files})


def operators_in(folder: Path) -> Json:
    """Which operators of an exported file run on integers, in float, beside an accelerator, as `Contents` has them.

    Nothing where the target cannot tell.
    """
    file, nothing = folder / OPERATORS, dict[str, Json](quantized={}, in_float=[], on_processor=[])
    return nothing | (json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {})


def proofs_in(folder: Path) -> list[Json]:
    """What is known of the answers of an exported file: its proofs as data, each with a `text`."""
    file = folder / PROOF
    found: list[Json] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else []
    return found


def _later(made: Sequence[Model], folder: Path) -> Callable[[], Model]:
    """The model as it was made, or from its folder once somebody wants it."""
    return cache(lambda: made[0] if made else saved.load(folder))
