"""The way of the data: load → check → steps → export → measure → report → bundle. Alone it knows every stage."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from paring import data, load, opening, reporting
from paring import devices as profiles
from paring.checking import findings, without_room
from paring.compression import Compression
from paring.core.device import Device
from paring.core.errors import ParingError, UnknownName
from paring.core.model import Json, Model, TensorSpec
from paring.core.progress import Silent
from paring.core.record import Record
from paring.core.rundir import RunDirectory, key
from paring.core.step import Progress
from paring.core.target import Problem, remarks
from paring.core.task import Split, Tokenization
from paring.devices.reach import Options
from paring.inspection import ArtifactInspection, Inspection, of_artifact, of_model
from paring.measure import measurements
from paring.measure.serving import serving
from paring.reaching import Place
from paring.recipes import library
from paring.recipes.quantity import KINDS, budget
from paring.recipes.read import read, write
from paring.recipes.recipe import Recipe
from paring.report.document import Report
from paring.steps import STEPS
from paring.targets import TARGETS, is_artifact, of_file

if TYPE_CHECKING:
    from paring.bundle.verify import Verification
    from paring.catalog import Described
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
    recipe: Source,
    *,
    model: str | None = None,
    data: str | None = None,
    weights: str | Path | None = None,
    device: str | None = None,
    out: str | Path | None = None,
    seed: int | None = None,
    on: str | None = None,
    reached: Options | None = None,
    progress: Progress | None = None,
) -> Result:
    """Runs a recipe: the whole way, finished work taken from the run directory where it is there already.

    Args:
        recipe: a file, a name of the library (`small`), a dictionary, or a `Recipe`.
        model: instead of the recipe's, and of its weights.
        data: instead of the recipe's.
        weights: instead of the recipe's.
        device: instead of the recipe's.
        out: the run directory; `runs/` and the recipe's name where it is left out.
        seed: instead of the recipe's.
        on: a device to measure latency and peak memory on, and to judge budgets of these by; as of `bench`.
        reached: key, cores and so on for the way to it.
        progress: shows how far it has come.

    Raises:
        ParingError: with problem, place and remedy. Earlier results are untouched.
    """
    given = {"model": model, "data": data, "weights": weights and str(weights), "device": device, "seed": seed}
    wanted, lines = read(recipe, **given)
    run = RunDirectory(Path(out) if out is not None else Path("runs") / Path(lines.name).stem)

    steps = opening.steps(wanted, lines)
    profile, targets = opening.targets(wanted, lines)
    budgets = [budget(n, t, lines.of(("require", n))) for n in KINDS if (t := getattr(wanted.require, n)) is not None]
    opening.judged(budgets, targets)
    place = None if on is None else Place(on, reached or Options())
    if place is not None:
        opening.measured_on(place, wanted, steps, budgets)
    progress = progress or Silent()
    task = opening.task(wanted.data, wanted.model)
    original = opening.model(wanted, task)
    for target, _ in targets:
        opening.quantizes(steps, original, target)
        for problem in opening.refuse(target.check(original), f"{original.source} on {target.name}"):
            progress.note(f"{target.name}: {problem}")
    opening.refuse(without_room(original, profile, steps), f"{original.source} on {profile.name}")
    if told := profiles.replaced(wanted.device):
        progress.note(told)
    with run.locked():
        work = Compression(
            wanted, task, tuple(targets), wanted.measure.threads or profile.threads, run, progress, place
        )
        states = work.apply(original, steps)
        exports = work.export(states)
        records = work.measure(states, exports)
        document = reporting.document(work, states, exports, records, budgets)
        write(wanted, run.path / "recipe.yaml")
        reporting.write(document, run.path, progress)
    return Result(run.path, document, {e.target.name: e.file for e in exports if e.stage.startswith("artifact:")})


def recipes() -> dict[str, str]:
    """The recipes that come with paring, each with a line on what it does."""
    return library.lines()


def recipe(name: str) -> str:
    """A recipe that comes with paring, as YAML to copy and change.

    Raises:
        UnknownName: there is none of that name.
    """
    return library.text(name)


def steps(name: str = "") -> "tuple[tuple[Described, ...], tuple[str, ...]]":
    """What every step does, or one alone, and the rules of order that concern it, as sentences.

    Raises:
        UnknownName: no step has that name.
    """
    from paring.catalog import described, rules

    found = tuple(described(one) for one in ([name] if name else STEPS.names()))
    return found, rules(found[0] if name else None)


def check(
    model: str | Model,
    target: str | None = None,
    *,
    device: str | None = None,
    weights: Path | None = None,
    shape: Shape | None = None,
    data_name: str | None = None,
) -> Sequence[Problem]:
    """What keeps a model from running, all at once; on a device also what is slow there, and what memory it needs.

    Without a device a finding either refuses or is a note on the target; if none refuses, the target can run the model.

    Args:
        model: as a recipe names it, or loaded already: then only `target` and `device` count.
        target: name of a runtime; the device's where it is left out, else `litert`.
        device: a profile, or a profile's file.
        weights: a safetensors file or a checkpoint of plain weights.
        shape: of one sample, or a description of each input, where no data are named.
        data_name: what the model is for; gives its inputs.
    """
    profile = None if device is None else profiles.open(device)
    if profile is None or target is not None:
        TARGETS.load(target or "litert")  # before the model, which may take a while
    if isinstance(model, str):
        task = opening.task(data_name, model) if data_name else None
        model = load.open(model, weights=weights, task=task, shape=shape)
    if profile is None:
        runtime = TARGETS.load(target or "litert")()
        return [*runtime.check(model), *remarks(runtime)]
    told = profiles.replaced(device or "")
    notes = [Problem(told, "device", "", "note")] if told else []
    return [*findings(model, profile, () if target is None else (target,)), *notes]


def devices(name: str = "") -> tuple[Sequence[Device], Sequence[ParingError]]:
    """Device profiles: one alone, or all, the user's own among them; and what is wrong with those that are none.

    Raises:
        ParingError: the one that is named is none.
    """
    if name:
        return (profiles.open(name),), ()
    found, broken = [], []
    for one in profiles.names():
        try:
            found.append(profiles.open(one))
        except ParingError as error:
            broken.append(error)
    return found, broken


def replaced(name: str) -> str:
    """A sentence where a profile of the user's stands in place of paring's of the same name; else empty."""
    return profiles.replaced(name)


def inspect(
    model: str, *, weights: Path | None = None, shape: Shape | None = None, data_name: str | None = None
) -> Inspection | ArtifactInspection:
    """What a model, or an exported file, is made of; of a model also what steps can do to it and targets refuse."""
    named = model.partition(":")[0] in load.DOORS  # `onnx:model.onnx` is a model, `model.onnx` an exported file
    if not named and is_artifact(model):
        if weights is not None or shape is not None or data_name is not None:
            raise ParingError("is an exported file, with inputs and weights of its own", model, "leave the options out")
        return of_artifact(Path(model), of_file(Path(model)))
    task = opening.task(data_name, model) if data_name else None
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
    from paring.diagnosis import of_run  # here, as it needs torchao

    return of_run(run, target, samples, progress or Silent())


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
    from paring.sensitivities import of_model  # here, as it needs torch

    return of_model(model, data_name, weights, by, ratios, samples, out or sensitivity_folder(model, by), progress)


def sensitivity_folder(model: str, by: str) -> Path:
    """Where the results of `sensitivity` lie if no folder is named."""
    return Path("runs") / f"sensitivity-{by}-{key(model)[:8]}"


def bench(
    artifacts: Sequence[Path],
    *,
    threads: int = 1,
    seconds: float = 4.0,
    with_serving: bool = False,
    on: str | None = None,
    reached: Options | None = None,
) -> list[Record]:
    """Latency (interleaved; ratios to the first), size and peak memory of artifacts. Stages are the files' names.

    Args:
        artifacts: exported files.
        threads: that a runtime may use.
        seconds: to spend, roughly, on the timing of all.
        with_serving: adds how long each takes to start, and what threads and batches win; on this machine alone.
        on: a device to measure on: `local` (a fresh process), `ssh://user@host:port`, `adb`, `adb:SERIAL`,
            `emulated-arm64`, whose times are called `latency_emulated`; in this process where it is None.
        reached: key, cores and so on for the way to it.

    Raises:
        ParingError: a file or the device is refused; nothing is left on the device.
    """
    if not artifacts:
        raise ParingError("no artifact is named", "bench", "name one file or more")
    if on is not None and with_serving:
        raise ParingError("serving is measured on this machine alone", f"bench on {on}", "leave one of the two out")
    if on is not None:
        there = Place(on, reached or Options()).bench({str(p): p for p in artifacts}, threads=threads, seconds=seconds)
        return [*there, *(r for path in artifacts for r in measurements.size_of(path, str(path)))]
    found = {str(path): (of_file(path), path) for path in artifacts}
    return [
        *measurements.latency({n: t.open(p, threads) for n, (t, p) in found.items()}, seconds=seconds),
        *(r for n, (t, p) in found.items() for r in measurements.footprint(t, p, n, threads)),
        *(r for n, (t, p) in found.items() if with_serving for r in serving(t, p, n, threads)),
    ]


def prepare(what: str, *, progress: Progress | None = None) -> Path:
    """Sets up a stand-in for a device, once: `emulated-arm64`, for `bench(..., on="emulated-arm64")`. Gives its folder.

    Raises:
        UnknownName: nothing is called so.
        ParingError: a download failed, or the disk is full; called again it goes on.
    """
    from paring.devices import arm64  # here, as nothing else needs it

    if what != "emulated-arm64":
        raise UnknownName.of("stand-in", what, ["emulated-arm64"])
    return arm64.prepare(progress).root


def bundle(run: Path, platform: str, out: Path | None = None, *, progress: Progress | None = None) -> Path:
    """Writes what an app developer needs of a finished run; arguments and errors as of `paring.bundling.bundle`."""
    from paring import bundling  # here, as it needs torch

    return bundling.bundle(run, platform, out, progress or Silent())


def verify(bundle: Path) -> "Verification":
    """Whether a bundle is as it was written, and answers as it should here; errors as of `paring.bundle.verify`."""
    from paring.bundle.verify import verify

    return verify(bundle)


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
    from paring.checkpoint import trained  # here, as it needs torch

    return trained(model, data_name, out, config, weights, seed, command, progress or Silent())
