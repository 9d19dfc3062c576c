"""A run as a report: its stages, the verdicts on its budgets, and what a reader must not miss."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import paring
from paring import report
from paring.compression import Compression, Export, State, operators_in, proofs_in
from paring.core import artifact
from paring.core.errors import MissingExtra
from paring.core.record import Record
from paring.core.step import Phase, Progress
from paring.core.target import remarks, why_not_run, why_not_timed
from paring.load import saved
from paring.measure import machine
from paring.opening import told
from paring.recipes.quantity import Budget
from paring.recipes.recipe import Recipe
from paring.report.document import Report, Requirement, Stage
from paring.steps import STEPS

_HARDLY = 0.95  # of the float file's size
_NAMED = 5  # operators in float that a note names
_BESIDE = {".h", ".cc", ".tflite", ".log"}  # of what a target writes beside its file


def document(
    work: Compression,
    states: Sequence[State],
    exports: Sequence[Export],
    records: Sequence[Record],
    budgets: Sequence[Budget],
) -> Report:
    """What there is to say of a run."""
    recipe, run = work.recipe, work.run.path
    return Report(
        name=run.name,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        paring=paring.__version__,
        environment=machine.environment(),
        recipe=recipe.as_json(),
        stages=(*_steps(states, run), *_files(exports, run)),
        records=tuple(records),
        requirements=tuple(verdict for one in budgets for verdict in _verdicts(one, records)),
        notes=(
            *_notes(recipe, records),
            *(f"{one.problem}." for target, _ in work.targets for one in remarks(target)),
            *_absent(work, budgets, records),
            *_in_float(exports),
            *_on_processor(exports),
            *larger(exports),
            *told(work.task),
        ),
    )


def write(found: Report, run: Path, progress: Progress) -> None:
    """Writes `report.json` and, where Plotly is installed, `report.html`."""
    report.write_json(found, run / "report.json")
    try:
        report.write_html(found, run / "report.html")
    except MissingExtra as error:  # everything else is there: no reason to fail
        progress.note(f"no report.html: {error}")


def _steps(states: Sequence[State], run: Path) -> Iterator[Stage]:
    """The baseline, and each step."""
    yield Stage(name="baseline", title=str(states[0].model().source), cached=states[0].done.cached)
    for state in states[1:]:
        event = saved.last_event(state.done.path)
        yield Stage(
            name=state.name,
            title=event.step,
            changed=event.changed,
            config=event.config,
            skipped=event.skipped,
            invariants=state.invariants,
            seconds=state.done.seconds,
            cached=state.done.cached,
            files=_in(state.done.path, ".safetensors", run),
        )


def _files(exports: Sequence[Export], run: Path) -> Iterator[Stage]:
    """The result, as a file of each target."""
    for export in exports:
        if export.stage.startswith("artifact:"):
            yield Stage(
                name=export.stage,
                title=f"{export.target.name} file",
                changed="; ".join([f"{export.state.name} exported to {export.file.name}", *_proved(export)]),
                seconds=export.done.seconds,
                cached=export.done.cached,
                files=_in(export.done.path, export.target.suffix, run),
            )


def _proved(export: Export) -> list[str]:
    """What is known of the file's answers, in words."""
    return [str(proof["text"]) for proof in proofs_in(export.done.path)]


def _in(folder: Path, suffix: str, run: Path) -> tuple[str, ...]:
    """Files that end so, and then those that were written beside them."""
    found = sorted(folder.glob(f"*{suffix}"))
    beside = sorted(file for file in folder.iterdir() if file not in found and file.suffix in _BESIDE)
    return tuple(str(file.relative_to(run)) for file in (*found, *beside))


def _notes(recipe: Recipe, records: Sequence[Record]) -> Iterator[str]:
    """What a reader must not miss."""
    if recipe.weights is None and recipe.model.partition(":")[0] in {"zoo", "torch"}:
        yield "The weights were drawn at random or by the factory: no `weights` were given."
    if recipe.measure.test_samples:
        yield f"Accuracy rests on the first {recipe.measure.test_samples} test samples only, as the recipe asks."
    yield from slower(recipe, [record for record in records if record.metric == "latency"])


def _verdicts(wanted: Budget, records: Sequence[Record]) -> Iterator[Requirement]:
    """A budget against each artifact."""
    drop = wanted.name == "accuracy_drop"
    before = next(r.value for r in records if (r.stage, r.metric) == ("baseline", "accuracy"))
    metric = "accuracy" if drop else wanted.name
    results = [r for r in records if r.stage.startswith("artifact:") and r.metric == metric]
    if drop and not results:  # nothing here runs any of the files: the model they were made from is judged
        results = [r for r in records if r.metric == metric][-1:]
    for record in results:
        value = before - record.value if drop else record.value
        over = max(0.0, value - wanted.limit)
        name = wanted.name if len(results) == 1 else f"{wanted.name} ({record.stage.removeprefix('artifact:')})"
        yield Requirement(name=name, limit=wanted.limit, unit=wanted.unit, value=value, met=over == 0.0, shortfall=over)


def _absent(work: Compression, budgets: Sequence[Budget], records: Sequence[Record]) -> Iterator[str]:
    """For each target whose files this machine cannot run or time, what the report therefore lacks."""
    for target, _ in work.targets:
        if (why := why_not_run(target)) is not None:
            yield f"The {target.name} file was not run: {why}. Its accuracy is that of the model it was made from."
        elif (why := why_not_timed(target)) is not None:
            yield f"The {target.name} file was run, but not timed: {why}."
        known = {record.metric for record in records if record.stage == f"artifact:{target.name}"}
        unjudged = [one.name for one in budgets if one.name in {"latency", "peak_memory"} - known]
        if why is not None and unjudged:
            yield f"{' and '.join(unjudged)} of the {target.name} file: not judged."


def _in_float(exports: Sequence[Export]) -> Iterator[str]:
    """For each quantized result the operators that it computes in float, in words."""
    for export in exports:
        held = operators_in(export.done.path)
        if export.stage.startswith("artifact:") and held["quantized"] and held["in_float"]:
            named = ", ".join(f"{kind} ({tensor})" for kind, tensor in held["in_float"][:_NAMED])
            more = len(held["in_float"]) - _NAMED
            yield f"{export.target.name} computes in float: {named}{f' and {more} more' if more > 0 else ''}."


def larger(exports: Sequence[Export]) -> Iterator[str]:
    """Quantized results whose files are hardly smaller than the float file, in words."""
    floats = {one.target.name: one for one in exports if one.state.name == "baseline"}
    for export in exports:
        held, before = operators_in(export.done.path), floats.get(export.target.name)
        if not export.stage.startswith("artifact:") or not held["quantized"] or before is None:
            continue
        own, other = artifact.size(export.file), artifact.size(before.file)
        if own > _HARDLY * other:
            count = sum(held["quantized"].values()) + len(held["in_float"])
            yield (
                f"The quantized {export.target.name} file takes {own} bytes, the float one {other}: what describes its "
                f"{count} operators outweighs what the weights save."
            )


def _on_processor(exports: Sequence[Export]) -> Iterator[str]:
    """For each result the operators that a device's accelerator leaves to its processor, in words."""
    for export in exports:
        held = operators_in(export.done.path)["on_processor"]
        if export.stage.startswith("artifact:") and held:
            kinds: dict[str, list[str]] = {}
            for kind, tensor in held:
                kinds.setdefault(kind, []).append(tensor)
            named = "; ".join(f"{kind} ({', '.join(tensors)})" for kind, tensors in kinds.items())
            yield f"{export.target.name} leaves {len(held)} operators to the device's processor: {named}."


def slower(recipe: Recipe, latencies: Sequence[Record]) -> Iterator[str]:
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
            why = " Zeros are multiplied like other numbers there: what they save is the zipped size." if zeros else ""
            yield (
                f"{record.stage} is {'slower' if won < -spread else 'no faster'} than {before.stage} on "
                f"{record.device}: {record.value:.3g} against {before.value:.3g} ms.{why}"
            )


def _phase(step: str) -> Phase:
    found: Phase = STEPS.load(step).phase
    return found
