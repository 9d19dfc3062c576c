"""A finished run as a bundle: a folder that appears complete or not at all."""

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import paring
from paring.bundle import code, golden
from paring.bundle.licences import licences
from paring.bundle.manifest import NAME, SCHEMA, Artifact, FileEnd, FileEntry, Golden, Manifest, dump
from paring.bundle.platforms import Platform
from paring.bundle.preprocessing import as_json, kind
from paring.bundle.runtime import opened, why_not
from paring.bundle.tolerance import Shipped, tolerance
from paring.core import atomic
from paring.core.errors import ParingError
from paring.core.target import Array, Runner
from paring.core.task import Task
from paring.measure.answers import Answers
from paring.recipes.recipe import Recipe


@dataclass(frozen=True)
class Finished:
    """A finished run, as a bundle needs it.

    Attributes:
        path: the run directory.
        name: of the run.
        recipe: as resolved.
        task: its data.
        libraries: versions that it was made with.
        artifacts: that the platform uses.
        original: answers of the model that it began with, on the test split.
        result: answers of the model that was exported.
        tokenizer: the text of a `tokenizer.json`; None where the data are no texts.
    """

    path: Path
    name: str
    recipe: Recipe
    task: Task
    libraries: Mapping[str, str]
    artifacts: Sequence[Shipped]
    original: Answers
    result: Answers
    tokenizer: str | None


def write(run: Finished, platform: Platform, out: Path) -> Path:
    """Writes the bundle; a bundle that was there is replaced.

    Raises:
        ParingError: `out` holds something else, the data are not those of the run, or the file system refuses.
    """
    if out.exists() and not (out / NAME).is_file() and (not out.is_dir() or any(out.iterdir())):
        raise ParingError("is there already, and is no bundle", str(out), "choose another --out")
    with atomic.directory(out) as folder:
        _fill(run, platform, folder)
    return out


def _fill(run: Finished, platform: Platform, folder: Path) -> None:
    artifacts, written = _artifacts(run, platform, folder)
    for name in ("recipe.yaml", "report.json", "report.html"):
        if (run.path / name).is_file():
            shutil.copyfile(run.path / name, folder / name)
    told = as_json(run.task)
    told["artifacts"] = {one.target: one.model_dump(mode="json", include={"inputs", "outputs"}) for one in artifacts}
    _write_json(folder / "preprocessing.json", told)
    if run.task.labels:
        _write_json(folder / "labels.json", list(run.task.labels))
    if run.tokenizer is not None:
        (folder / "tokenizer.json").write_text(run.tokenizer, encoding="utf-8")

    notes = _notes(run, written.raw is None)
    where = f"{platform.golden}/{golden.NAME}"
    code.write(folder, platform, run.name, run.task, artifacts, written, where, notes)
    manifest = Manifest(
        schema_version=SCHEMA,
        digest="",
        name=run.name,
        platform=platform.name,
        paring=paring.__version__,
        libraries=dict(run.libraries),
        model=run.recipe.model,
        data=run.recipe.data,
        labels=len(run.task.labels),
        artifacts=tuple(artifacts),
        golden=where,
        notes=notes,
        licences=licences(run.recipe, [one.target for one in artifacts]),
        files=entries(folder),
    )
    (folder / NAME).write_text(dump(manifest.sealed()), encoding="utf-8")


def _artifacts(run: Finished, platform: Platform, folder: Path) -> tuple[tuple[Artifact, ...], Golden]:
    """Copies the artifacts, and takes their golden answers."""
    files = {one.target: _copied(one, folder / platform.artifacts / one.target) for one in run.artifacts}
    runners = {target: opened(target, file) for target, file in files.items()}
    known = next((runner for runner in runners.values() if runner is not None), None)
    inputs = run.task.inputs if known is None else known.inputs
    first = "output" if known is None else known.outputs[0].name
    samples = golden.choose(run.task, run.original, inputs)
    place = folder / platform.golden
    found: list[Artifact] = []
    shapes: dict[str, tuple[int, ...]] = {}
    for one in run.artifacts:
        file, runner = files[one.target], runners[one.target]
        answers = _answers(runner, samples, run.result, first)
        shapes |= {name: array.shape for name, array in answers.items()}
        outputs = tuple(_end(runner, name, (1, *array.shape[1:]), "float32") for name, array in answers.items())
        limits = {
            end.name: tolerance(one, answers[end.name], np.asarray(run.result.outputs), end, runner is not None)
            for end in outputs
        }
        artifact = Artifact(
            target=one.target,
            path=file.relative_to(folder).as_posix(),
            runtime="" if runner is None else runner.runtime,
            inputs=tuple(_end(runner, spec.name, spec.sized(1), spec.dtype) for spec in inputs),
            outputs=outputs,
            expected=golden.put_answers(answers, place / "expected" / one.target, folder),
            tolerance=limits,
        )
        found.append(artifact)
    return tuple(found), golden.write(samples, run.original, shapes, place, folder)


def _copied(one: Shipped, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    copy = folder / one.path.name
    if one.path.is_dir():
        shutil.copytree(one.path, copy)
    else:
        shutil.copyfile(one.path, copy)
    return copy


def _answers(runner: Runner | None, samples: golden.Samples, result: Answers, first: str) -> dict[str, Array]:
    """Of the artifact; where nothing here can run it, the first output of the model in PyTorch, as the run kept it."""
    if runner is None:
        return {first: np.asarray(result.outputs[: len(samples)])}
    return runner.run(samples.inputs)


def _end(runner: Runner | None, name: str, shape: tuple[int, ...], dtype: str) -> FileEnd:
    """An end as the file has it; a runtime that does not tell takes values as the model does."""
    end = getattr(runner, "ends", {}).get(name)
    return FileEnd(name=name, shape=shape, dtype=dtype) if end is None else FileEnd.of(name, end, shape)


def _notes(run: Finished, no_raw: bool) -> tuple[str, ...]:
    """What the bundle lacks, and why."""
    what = kind(run.task)
    found = []
    if not run.task.labels:
        found.append("The task names no labels: what an output means is for its maker to say.")
    if what == "tensor":
        found.append("The task tells no preprocessing: the code takes the model's own tensors.")
    if what == "image" and no_raw:
        found.append("The raw images are no bytes: the golden test begins behind preprocessing.")
    if what == "text" and run.tokenizer is None:
        found.append("The tokenizer is not at hand: the code takes ids of tokens.")
    for one in run.artifacts:
        reason = why_not(one.target)
        if reason is not None:
            found.append(f"{one.target} was not run ({reason}): expected are the answers of the model in PyTorch.")
    return tuple(found)


def entries(folder: Path) -> tuple[FileEntry, ...]:
    """Every file of a bundle but its manifest, with size and hash."""
    found = []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if name != NAME and (path.is_symlink() or not path.is_dir()):
            content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
            found.append(FileEntry(path=name, size=len(content), sha256=hashlib.sha256(content).hexdigest()))
    return tuple(found)


def _write_json(path: Path, data: object) -> None:
    path.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
