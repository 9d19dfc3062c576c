"""The Records of a stage: of a model in PyTorch, of an artifact in its runtime."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from paring.core import artifact as sizes
from paring.core.model import Model
from paring.core.record import Origin, Record
from paring.core.step import Progress
from paring.core.target import Runner, Target
from paring.core.task import Split, Task
from paring.core.timing import Timing
from paring.measure import accuracy, cost, fresh, machine
from paring.measure.answers import Answers, collect, of_model, of_runner
from paring.measure.latency import interleaved


def collect_in_torch(
    model: Model, task: Task, folder: Path, progress: Progress, name: str, limit: int | None = None
) -> Answers:
    """What a model answers on the test split, written to `folder`."""
    return collect(of_model(model), task, "test", folder, progress, f"test {name}", limit)


def accuracy_in_torch(model: Model, task: Task, split: Split, stage: str, progress: Progress) -> Record:
    """Accuracy of a model in PyTorch."""
    with TemporaryDirectory() as folder:
        answers = collect(of_model(model), task, split, Path(folder), progress, f"{split} {stage}")
        return _accuracy(answers, stage, _in_torch(), task, split)


def accuracy_of(
    runner: Runner, task: Task, split: Split, stage: str, progress: Progress, limit: int | None = None
) -> list[Record]:
    """Accuracy of an artifact in its runtime."""
    with TemporaryDirectory() as folder:
        answers = collect(of_runner(runner, task), task, split, Path(folder), progress, f"{split} {stage}", limit)
        return [_accuracy(answers, stage, machine.on(runner.runtime, runner.threads), task, split)]


def of_state(model: Model, answers: Answers, baseline: Answers, stage: str) -> list[Record]:
    """Accuracy, parameters, MACs of a stage in PyTorch; after the baseline also how far it agrees with it."""
    device, count = _in_torch(), len(answers.targets)
    records = [
        _accuracy(answers, stage, device, None, "test"),
        Record(
            stage=stage, metric="parameters", value=cost.parameters(model), unit="1",
            device="none", origin=Origin.ESTIMATED, source="paring.measure.cost.parameters",
        ),
        Record(
            stage=stage, metric="macs", value=cost.macs(model), unit="1",
            device="none", origin=Origin.ESTIMATED, source="paring.measure.cost.macs",
        ),
    ]  # fmt: skip
    if stage != "baseline":
        records += _parity(baseline, answers, stage, device, count, "baseline_")
    return records


def of_artifact(
    target: Target,
    artifact: Path,
    threads: int,
    task: Task,
    source: Answers,
    stage: str,
    progress: Progress,
    limit: int | None = None,
) -> list[Record]:
    """Parity with the PyTorch model that the file was made from; accuracy if it is the result."""
    runner = target.open(artifact, threads)
    device = machine.on(runner.runtime, threads)
    with TemporaryDirectory() as folder:
        label = f"test {artifact.parent.name}"
        answers = collect(of_runner(runner, task), task, "test", Path(folder), progress, label, limit)
        records = _parity(source, answers, stage, device, len(answers.targets), "")
        if stage.startswith("artifact:"):
            records.insert(0, _accuracy(answers, stage, device, task, "test"))
    return records


def footprint(target: Target, artifact: Path, stage: str, threads: int) -> list[Record]:
    """Size of the artifact, and peak memory of a fresh process that loads and runs it."""
    return [*size_of(artifact, stage), *memory_of(target, artifact, stage, threads)]


def memory_of(target: Target, artifact: Path, stage: str, threads: int) -> list[Record]:
    """Peak memory of a fresh process that loads and runs the artifact."""
    kind = f"{type(target).__module__}:{type(target).__qualname__}"
    return [
        Record(
            stage=stage, metric="peak_memory", value=fresh.peak(kind, artifact, threads), unit="bytes",
            device=machine.on(target.name, threads), source="paring.measure.fresh.peak",
        )
    ]  # fmt: skip


def size_of(artifact: Path, stage: str) -> list[Record]:
    """Size of the artifact, as it is and zipped."""
    return [
        Record(stage=stage, metric="size", value=sizes.size(artifact), unit="bytes", device="none", source="stat"),
        Record(
            stage=stage, metric="zipped_size", value=sizes.zipped(artifact), unit="bytes", device="none",
            source="zlib.compress, 9",
        ),
    ]  # fmt: skip


def on_integers(quantized: int, in_float: int, stage: str) -> list[Record]:
    """The share of a file's computing operators that run on integers; nothing of a float file."""
    count = quantized + in_float
    if not quantized:
        return []
    return [
        Record(
            stage=stage, metric="on_integers", value=100 * quantized / count, unit="%", samples=count, device="none",
            origin=Origin.ESTIMATED, source="describe",
        )
    ]  # fmt: skip


def latency(runners: Mapping[str, Runner], *, seconds: float = 4.0) -> list[Record]:
    """Latency of artifacts, interleaved, and its ratio to the first of them."""
    timings = interleaved(runners, seconds=seconds)
    where = {stage: machine.on(runner.runtime, runner.threads) for stage, runner in runners.items()}
    return timed(timings, where, "paring.measure.latency.interleaved")


def timed(
    timings: Mapping[str, Timing], devices: Mapping[str, str], source: str, metric: str = "latency"
) -> list[Record]:
    """The Records of timings: each one's latency, and of all but the first the ratio to it.

    Args:
        timings: by stage.
        devices: what each was measured on.
        source: what measured.
        metric: what the latency is called; its ratio is `METRIC_ratio`.
    """
    records = []
    for position, (stage, timing) in enumerate(timings.items()):
        records.append(
            Record(
                stage=stage, metric=metric, value=timing.median, unit="ms", spread=timing.spread,
                samples=timing.samples, device=devices[stage], source=source,
            )
        )  # fmt: skip
        if position:
            records.append(
                Record(
                    stage=stage, metric=f"{metric}_ratio", value=timing.ratio, unit="1", spread=timing.ratio_spread,
                    samples=timing.samples, device=devices[stage], source=source,
                )
            )  # fmt: skip
    return records


def write(records: Sequence[Record], folder: Path) -> None:
    """Keeps records in a folder."""
    text = json.dumps([record.as_json() for record in records], indent=1)
    (folder / "records.json").write_text(text + "\n", encoding="utf-8")


def read(folder: Path) -> list[Record]:
    """What `write` kept."""
    return [Record.from_json(record) for record in json.loads((folder / "records.json").read_text(encoding="utf-8"))]


def _accuracy(answers: Answers, stage: str, device: str, task: Task | None, split: str) -> Record:
    value, half = accuracy.accuracy(answers)
    return Record(
        stage=stage, metric="accuracy", value=value, unit="%", spread=half, samples=len(answers.targets), device=device,
        source=f"paring.measure.accuracy.accuracy, {split} split" + (f" of {task.name}" if task else ""),
    )  # fmt: skip


def _parity(reference: Answers, other: Answers, stage: str, device: str, count: int, prefix: str) -> list[Record]:
    value, half = accuracy.agreement(reference, other)
    return [
        Record(
            stage=stage, metric=f"{prefix}agreement", value=value, unit="%", spread=half, samples=count, device=device,
            source="paring.measure.accuracy.agreement",
        ),
        Record(
            stage=stage, metric=f"{prefix}sqnr", value=accuracy.sqnr(reference.outputs, other.outputs), unit="dB",
            samples=count, device=device, source="paring.measure.accuracy.sqnr",
        ),
    ]  # fmt: skip


def _in_torch() -> str:
    import torch

    return machine.on(f"PyTorch {torch.__version__}", torch.get_num_threads())
