"""A run directory as a bundle: opened, looked through for what the platform can run, and handed on."""

from pathlib import Path

from paring import load, opening, report
from paring.bundle import write
from paring.bundle.platforms import Platform, platform
from paring.bundle.tolerance import Shipped
from paring.bundle.write import Finished
from paring.compression import operators_in
from paring.core.entry import parse
from paring.core.errors import ParingError
from paring.core.rundir import RunDirectory
from paring.core.step import Progress
from paring.core.task import Task
from paring.measure.answers import Answers
from paring.recipes.read import read
from paring.report.document import Report

_BASELINE = "00-baseline"


def bundle(run: Path, name: str, out: Path | None, progress: Progress) -> Path:
    """Writes the bundle of a run for the platform called `name`.

    Args:
        run: a run directory that `compress` finished.
        name: of the platform.
        out: the bundle; `bundles/` and the platform's name in the run directory where it is left out.
        progress: shows how far it has come.

    Raises:
        ParingError: no such platform, no finished run, or none of its artifacts is for the platform.
    """
    wanted = platform(name)
    if not (run / "report.json").is_file():
        raise ParingError(
            "is not a finished run", str(run), "name the folder that `paring compress` wrote, or run it again"
        )
    with RunDirectory(run).locked():
        found = report.read_json(run / "report.json")
        artifacts = _artifacts(run, found, wanted)
        recipe, _ = read(run / "recipe.yaml")
        progress.note(f"bundle for {name}: {', '.join(one.target for one in artifacts)} …")
        task = opening.task(recipe.data, recipe.model)
        steps = [stage.name for stage in found.stages if stage.kind == "step"]
        finished = Finished(
            path=run,
            name=found.name,
            recipe=recipe,
            task=task,
            libraries=found.environment.get("libraries", {}),
            artifacts=artifacts,
            original=_answers(run, _BASELINE),
            result=_answers(run, steps[-1] if steps else _BASELINE),
            tokenizer=_tokenizer(task, recipe.data, recipe.model),
        )
        return write.write(finished, wanted, out or run / "bundles" / name)


def _artifacts(run: Path, found: Report, wanted: Platform) -> list[Shipped]:
    """The run's results that the platform can use, in the platform's order."""
    made = {stage.name.removeprefix("artifact:"): stage.files for stage in found.stages if stage.kind == "export"}
    shipped = []
    for target in wanted.targets:
        if not made.get(target):
            continue
        file = run / made[target][0]
        if not file.exists():
            raise ParingError(
                f"{made[target][0]} is missing", str(run), "run the recipe again: it makes what is missing"
            )
        shipped.append(Shipped(target, file, bool(operators_in(file.parent)["quantized"])))
    if not shipped:
        has = ", ".join(made) or "none"
        some = " or ".join(wanted.targets)
        problem = f"has no artifact that {wanted.name} can use (it has {has})"
        raise ParingError(problem, str(run), f"add {some} to the recipe's targets and run it again")
    return shipped


def _answers(run: Path, step: str) -> Answers:
    try:
        return Answers.load(run / "steps" / step)
    except (OSError, ValueError) as error:
        remedy = "run the recipe again: it makes what is missing"
        raise ParingError(f"the answers of {step} cannot be read ({error})", str(run), remedy) from error


def _tokenizer(task: Task, data: str, model: str) -> str | None:
    """The text of the tokenizer that the data were made with: the one that their line names, else the model's."""
    if "tokenizer" not in task.preprocessing:
        return None
    named = parse(data).arguments.get("tokenizer")
    if named is None:
        known = load.tokenization(model)
        return None if known is None else known.tokenizer
    path = Path(str(named)).expanduser()
    return (path / "tokenizer.json" if path.is_dir() else path).read_text(encoding="utf-8")
