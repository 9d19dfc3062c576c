"""The way of the data: load → check → steps → export → measure → report. The only file that knows every stage."""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import paring
from paring import data, devices, load, report
from paring.compression import Compression, Export, State, verdicts
from paring.core import atomic
from paring.core.device import Device
from paring.core.errors import MissingExtra, ParingError, UnknownName
from paring.core.model import Json, Model, TensorSpec
from paring.core.progress import Silent
from paring.core.record import Record
from paring.core.rundir import RunDirectory, key
from paring.core.step import Phase, Progress, Step, StepConfig
from paring.core.target import ExportOptions, Problem, Target, Traces
from paring.core.task import Split, Task, Tokenization
from paring.inspection import ArtifactInspection, Inspection, of_artifact, of_model
from paring.load import saved
from paring.measure import machine, measurements
from paring.recipes import order
from paring.recipes.quantity import KINDS, budget
from paring.recipes.read import read, validated, write
from paring.recipes.recipe import Lines, Recipe
from paring.report.document import Report, Requirement, Stage
from paring.steps import STEPS
from paring.targets import TARGETS, of_file, suffixes

if TYPE_CHECKING:
    from paring.diagnosis import Diagnosis
    from paring.sensitivities import Sensitivity

Source = Recipe | Mapping[str, Json] | str | Path
Shape = tuple[int, ...] | tuple[TensorSpec, ...]  # of one input, or a description of each


@dataclass(frozen=True)
class Result:
    """What `compress` gives.

    Attributes:
        path: the run directory.
        report: every record, stage and verdict.
        artifacts: target -> the file to ship.
    """

    path: Path
    report: Report
    artifacts: Mapping[str, Path]

    @property
    def met(self) -> bool:
        """Whether every requirement holds."""
        return all(requirement.met for requirement in self.report.requirements)


def compress(
    recipe: Source, *, out: str | Path | None = None, seed: int | None = None, progress: Progress | None = None
) -> Result:
    """Runs a recipe: the whole way, finished work taken from the run directory where it is there already.

    Args:
        recipe: a file, a dictionary, or a `Recipe`.
        out: the run directory; `runs/` and the recipe's name where it is left out.
        seed: instead of the recipe's.
        progress: shows how far it has come.

    Raises:
        ParingError: with problem, place and remedy. Earlier results are untouched.
    """
    wanted, lines = read(recipe)
    if seed is not None:
        wanted = validated(Recipe, {**wanted.as_json(), "seed": seed}, lines)
    run = RunDirectory(Path(out) if out is not None else Path("runs") / Path(lines.name).stem)

    steps = _resolve(wanted, lines)
    device, targets = _targets(wanted, lines)
    budgets = [budget(n, t, lines.of(("require", n))) for n in KINDS if (t := getattr(wanted.require, n)) is not None]
    task = _task(wanted.data, wanted.model)
    model = load.open(
        wanted.model, weights=Path(wanted.weights) if wanted.weights else None, task=task, seed=wanted.seed
    )
    for target, _ in targets:
        refuse(target.check(model), f"{model.source} on {target.name}")

    progress = progress or Silent()
    with run.locked():
        work = Compression(wanted, task, tuple(targets), wanted.measure.threads or device.threads, run, progress)
        states = work.apply(model, steps)
        exports = work.export(states)
        records = work.measure(states, exports)
        document = Report(
            name=run.path.name,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            paring=paring.__version__,
            environment=machine.environment(),
            recipe=wanted.as_json(),
            stages=_stages(states, exports, run.path),
            records=tuple(records),
            requirements=tuple(
                Requirement(**found) for one in budgets for found in verdicts(one.name, one.limit, one.unit, records)
            ),
            notes=(*_notes(wanted, records), *work.in_float(exports), *told(task)),
        )
        write(wanted, run.path / "recipe.yaml")
        report.write_json(document, run.path / "report.json")
        try:
            report.write_html(document, run.path / "report.html")
        except MissingExtra as error:  # everything else is there: no reason to fail
            progress.note(f"no report.html: {error}")
    return Result(run.path, document, {e.target.name: e.file for e in exports if e.stage.startswith("artifact:")})


def check(
    model: str | Model,
    target: str,
    *,
    weights: Path | None = None,
    shape: Shape | None = None,
    data_name: str | None = None,
) -> Sequence[Problem]:
    """Every reason why a model cannot run on a target; empty means that it can.

    Args:
        model: as a recipe names it, or loaded already: then only `target` counts.
        target: name of a runtime.
        weights: a safetensors file or a checkpoint of plain weights.
        shape: of one sample, or a description of each input, where no data are named.
        data_name: what the model is for; gives its inputs.
    """
    if isinstance(model, str):
        task = _task(data_name, model) if data_name else None
        model = load.open(model, weights=weights, task=task, shape=shape)
    found: Sequence[Problem] = TARGETS.load(target)().check(model)
    return found


def inspect(
    model: str, *, weights: Path | None = None, shape: Shape | None = None, data_name: str | None = None
) -> Inspection | ArtifactInspection:
    """What a model, or an exported file, is made of; of a model also what steps can do to it and targets refuse."""
    named = model.partition(":")[0] in load.DOORS  # `onnx:model.onnx` is a model, `model.onnx` an exported file
    if not named and Path(model).suffix in suffixes():
        if weights is not None or shape is not None or data_name is not None:
            raise ParingError("is an exported file, with inputs and weights of its own", model, "leave the options out")
        return of_artifact(Path(model), of_file(Path(model)))
    task = _task(data_name, model) if data_name else None
    return of_model(load.open(model, weights=weights, task=task, shape=shape))


def evaluate(
    artifact: Path,
    data_name: str,
    *,
    split: Split = "test",
    threads: int = 1,
    limit: int | None = None,
    progress: Progress | None = None,
) -> list[Record]:
    """Accuracy of an artifact in its runtime, on a split."""
    target = of_file(artifact)
    runner = target.open(artifact, threads)
    tokens = next((spec.sized(1)[1] for spec in runner.inputs if spec.dtype.startswith("int")), None)
    return measurements.accuracy_of(
        runner,
        data.open(data_name, tokenization=None if tokens is None else Tokenization(length=tokens, limit=tokens)),
        split,
        f"artifact:{target.name}",
        progress or Silent(),
        limit,
    )


def diagnose(
    run: Path, *, target: str | None = None, samples: int = 64, progress: Progress | None = None
) -> "Diagnosis":
    """Why the quantized file of a run answers otherwise than the float model; writes `diagnosis.json` and `.html`.

    Args:
        run: a run directory whose recipe quantizes.
        target: whose file; the run's first that can tell what its layers give where it is left out.
        samples: of the validation split.
        progress: shows how far it has come.

    Raises:
        ParingError: no run directory, nothing in it is quantized, or its target cannot tell.
    """
    from paring.diagnosis import diagnose as diagnosed  # here, as it needs torchao

    recipe, lines = read(run / "recipe.yaml")
    task = _task(recipe.data, recipe.model)
    steps = sorted(folder for folder in (run / "steps").iterdir() if (folder / "model.safetensors").is_file())
    quantized = next((i for i, folder in enumerate(steps) if saved.load(folder).quantized), None)
    if quantized is None:
        raise ParingError("no step of this run quantizes", str(run), "add quantize.static to the recipe")
    weights = Path(recipe.weights) if recipe.weights else None
    before = (
        saved.load(steps[quantized - 1])
        if quantized
        else load.open(recipe.model, weights=weights, task=task, seed=recipe.seed)
    )
    names = [one.name for one, _ in _targets(recipe, lines)[1]]
    chosen = target or next((name for name in names if isinstance(TARGETS.load(name)(), Traces)), names[0])
    if chosen not in names:
        raise UnknownName.of("target of this run", chosen, names, where=str(run))
    one: Target = TARGETS.load(chosen)()
    artifact = run / "artifacts" / chosen / f"model{one.suffix}"
    if not artifact.is_file():
        raise ParingError("there is no such file", str(artifact), "run `paring compress` again")
    found = diagnosed(before, saved.load(steps[-1]), one, artifact, task, samples, progress or Silent())
    with atomic.write(run / "diagnosis.json") as draft:
        draft.write_text(json.dumps(found.as_json(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    try:
        report.write_sheet(found.sheet(), run / "diagnosis.html")
    except MissingExtra as error:
        (progress or Silent()).note(f"no diagnosis.html: {error}")
    return found


def sensitivity(
    model: str,
    data_name: str,
    *,
    weights: Path | None = None,
    by: str = "channels",
    ratios: Sequence[float] = (0.25, 0.5, 0.75, 0.9),
    samples: int = 1000,
    out: Path | None = None,
    progress: Progress | None = None,
) -> "Sensitivity":
    """How much each layer can lose; writes `sensitivity.json` and `.html`. Killed and called again it goes on.

    Args:
        model: as a recipe names it.
        data_name: of the task.
        weights: a safetensors file or a checkpoint of plain weights.
        by: what is pruned: `channels`, or single `weights` by magnitude.
        ratios: shares to prune, between 0 and 1.
        samples: of the validation split.
        out: folder of the results.
        progress: shows how far it has come, and says beforehand how long it will take.

    Raises:
        ParingError: an unknown kind, a ratio out of range, no validation split.
    """
    from paring.sensitivities import measured  # here, as it needs torch-pruning

    task = _task(data_name, model)
    opened = load.open(model, weights=weights, task=task)
    run = RunDirectory(out or sensitivity_folder(model, by))
    progress = progress or Silent()
    with run.locked():
        found = measured(opened, task, by, ratios, samples, run, progress)
        with atomic.write(run.path / "sensitivity.json") as draft:
            draft.write_text(json.dumps(found.as_json(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        try:
            report.write_sheet(found.sheet(), run.path / "sensitivity.html")
        except MissingExtra as error:
            progress.note(f"no sensitivity.html: {error}")
    return found


def sensitivity_folder(model: str, by: str) -> Path:
    """Where the results of `sensitivity` lie if no folder is named."""
    return Path("runs") / f"sensitivity-{by}-{key(model)[:8]}"


def bench(artifacts: Sequence[Path], *, threads: int = 1, seconds: float = 4.0) -> list[Record]:
    """Latency (interleaved; ratios to the first), size and peak memory of artifacts. Stages are the files' names."""
    if not artifacts:
        raise ParingError("no artifact is named", "bench", "name one file or more")
    found = {str(path): (of_file(path), path) for path in artifacts}
    return [
        *measurements.latency({n: t.open(p, threads) for n, (t, p) in found.items()}, seconds=seconds),
        *(r for n, (t, p) in found.items() for r in measurements.footprint(t, p, n, threads)),
    ]


def train_model(
    model: str,
    data_name: str,
    out: Path,
    config: Mapping[str, Json],
    *,
    weights: Path | None = None,
    seed: int = 0,
    command: str = "",
    progress: Progress | None = None,
) -> Record:
    """Trains a model, saves it at `out` and gives its test accuracy.

    It begins from `weights` (a safetensors file or a checkpoint of plain weights), from those that the model brings,
    or from drawn ones. Killed and called again it goes on from its last checkpoint.
    """
    from paring.train.config import TrainConfig
    from paring.train.loop import fit

    path = out if out.suffix == ".safetensors" else out.with_name(out.name + ".safetensors")
    progress = progress or Silent()
    task = _task(data_name, model)
    for note in told(task):
        progress.note(note)
    options = validated(TrainConfig, dict(config), Lines("training options"))
    made = load.open(model, weights=weights, task=task, seed=seed)
    work = path.with_suffix(".training")
    fitted = fit(made, task, options, seed=seed, directory=work, progress=progress)
    trained = replace(made, module=fitted.module)
    record = measurements.accuracy_in_torch(trained, task, "test", "baseline", progress)
    saved.save(
        trained,
        path,
        {
            "data": data_name,
            "accuracy": record.as_json(),
            "command": command,
            "seed": seed,
            "config": options.model_dump(mode="json"),
            "epochs": [asdict(epoch) for epoch in fitted.history],
            "paring": paring.__version__,
            "notes": list(told(task)),
            "begun_from": saved.notes(Path(model)) if load.is_saved(model) else weights and str(weights),
        },
    )
    shutil.rmtree(work, ignore_errors=True)
    return record


def told(task: Task) -> tuple[str, ...]:
    """What a task wants a reader of its figures to know, e.g. how many texts were cut; most have nothing to say."""
    return tuple(getattr(task, "notes", ()))


def refuse(problems: Sequence[Problem], where: str) -> None:
    """Raises ParingError if there are problems, all of them in one message."""
    if problems:
        told = "; ".join(f"{problem.where}: {problem.problem}" for problem in problems)
        raise ParingError(told, where, "; ".join(dict.fromkeys(problem.remedy for problem in problems)))


def _task(name: str, model: str) -> Task:
    """The data, tokenized as the model wants its texts."""
    return data.open(name, tokenization=load.tokenization(model))


def _resolve(recipe: Recipe, lines: Lines) -> list[tuple[Step, StepConfig]]:
    """The recipe's steps with their options, in an order that holds."""
    found = []
    for position, spec in enumerate(recipe.steps):
        if spec.name not in STEPS:
            raise UnknownName.of("step", spec.name, STEPS.names(), where=lines.of(("steps", position)))
        step: Step = STEPS.load(spec.name)()
        found.append((step, validated(step.Config, spec.config, lines, ("steps", position))))
    order.check([order.Placed.of(step, config) for step, config in found], lines)
    return found


def _targets(recipe: Recipe, lines: Lines) -> tuple[Device, list[tuple[Target, ExportOptions]]]:
    """The device, and the targets that the recipe names, else the device's own."""
    device = devices.open(recipe.device)
    wanted = [(spec.name, spec.options) for spec in recipe.targets] or [(n, ExportOptions()) for n in device.targets]
    for position, (name, _) in enumerate(wanted):
        if name not in TARGETS:
            raise UnknownName.of("target", name, TARGETS.names(), where=lines.of(("targets", position)))
    return device, [(TARGETS.load(name)(), options) for name, options in wanted]


def _stages(states: Sequence[State], exports: Sequence[Export], run: Path) -> tuple[Stage, ...]:
    def files(folder: Path, suffix: str) -> tuple[str, ...]:
        return tuple(str(file.relative_to(run)) for file in sorted(folder.glob(f"*{suffix}")))

    found = [Stage(name="baseline", title=str(states[0].model().source), cached=states[0].done.cached)]
    for state in states[1:]:
        event = saved.last_event(state.done.path)
        found.append(
            Stage(
                name=state.name,
                title=event.step,
                changed=event.changed,
                config=event.config,
                skipped=event.skipped,
                seconds=state.done.seconds,
                cached=state.done.cached,
                files=files(state.done.path, ".safetensors"),
            )
        )
    return (
        *found,
        *(
            Stage(
                name=export.stage,
                title=f"{export.target.name} file",
                changed=f"{export.state.name} exported to {export.file.name}",
                seconds=export.done.seconds,
                cached=export.done.cached,
                files=files(export.done.path, export.target.suffix),
            )
            for export in exports
            if export.stage.startswith("artifact:")
        ),
    )


def _notes(recipe: Recipe, records: Sequence[Record]) -> tuple[str, ...]:
    """What a reader must not miss."""
    notes = []
    if recipe.weights is None and recipe.model.partition(":")[0] in {"zoo", "torch"}:
        notes.append("The weights were drawn at random or by the factory: no `weights` were given.")
    if recipe.measure.test_samples:
        notes.append(
            f"Accuracy rests on the first {recipe.measure.test_samples} test samples only, as the recipe asks."
        )
    return (*notes, *_slower(recipe, [record for record in records if record.metric == "latency"]))


def _slower(recipe: Recipe, latencies: Sequence[Record]) -> Iterator[str]:
    """Stages that take longer than the one before; those that won nothing but zeros also where they gain nothing."""
    sparse = [f"{n:02d}-{one.name}" for n, one in enumerate(recipe.steps, 1) if _phase(one.name) is Phase.SPARSITY]
    ends_sparse = bool(recipe.steps) and _phase(recipe.steps[-1].name) is Phase.SPARSITY
    previous: dict[str, Record] = {}
    for record in latencies:
        before = previous.get(record.device)
        previous[record.device] = record
        if before is None:
            continue
        won, spread = before.value - record.value, (record.spread or 0) + (before.spread or 0)
        zeros = record.stage in sparse or (ends_sparse and record.stage.startswith("artifact:"))
        if won < -spread or (zeros and won <= spread):
            told = " Zeros are multiplied like other numbers there: what they save is the zipped size." if zeros else ""
            yield (
                f"{record.stage} is {'slower' if won < -spread else 'no faster'} than {before.stage} on "
                f"{record.device}: {record.value:.3g} against {before.value:.3g} ms.{told}"
            )


def _phase(step: str) -> Phase:
    found: Phase = STEPS.load(step).phase
    return found
