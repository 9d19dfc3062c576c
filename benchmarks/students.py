"""Students of `distill.student`: size and speed of a BERT of half its layers, accuracy of a ResNet-8 of half its width.

Writes `benchmarks/results/students.csv`. A few minutes on one CPU, and 4 GB of memory. Latencies are of float files in
LiteRT, in turn, one sample, one thread.
"""

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from table import write

from paring import data, load
from paring.core.model import Model
from paring.core.step import Context
from paring.core.task import Task
from paring.measure import cost
from paring.measure.latency import interleaved
from paring.steps.distill.student import DistillStudent, StudentConfig
from paring.targets.litert import LiteRT
from paring.testing.transformers import Drawn
from paring.train.evaluate import accuracy

ROOT = Path(__file__).parents[1]
BERT = {
    "vocab_size": 30522,
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "max_position_embeddings": 512,
}
RECOVER = {"epochs": 3, "batch_size": 32, "learning_rate": 0.02, "teacher": "original"}


def student(model: Model, task: Task, **options: Any) -> Model:
    """The student of a model."""
    with TemporaryDirectory() as folder:
        context = Context(task, LiteRT.limits, 0, model, Path(folder))
        return DistillStudent().apply(model, StudentConfig.model_validate(options), context)


def in_turn(models: Mapping[str, Model]) -> dict[str, dict[str, float]]:
    """Latency (ms) of each in LiteRT, and its ratio to the first's."""
    target = LiteRT()
    with TemporaryDirectory() as folder:
        files = {name: target.export(one, Path(folder) / f"{i}.tflite") for i, (name, one) in enumerate(models.items())}
        found = interleaved({name: target.open(file) for name, file in files.items()}, seconds=20.0)
    return {name: {"latency_ms": one.median, "latency_ratio": one.ratio} for name, one in found.items()}


def main() -> None:
    """Measures and writes."""
    rows: list[dict[str, Any]] = []

    def add(
        name: str, options: str, model: Model, task: Task | None = None, timed: Mapping[str, float] | None = None
    ) -> None:
        right, total = accuracy(model, task, "validation") if task else (0, 0)
        found = round(100 * right / total, 2) if total else ""
        counts = {"parameters": cost.parameters(model), "macs": cost.macs(model)}
        times = {name: f"{timed[name]:.4g}" if timed else "" for name in ("latency_ms", "latency_ratio")}
        rows.append(
            {"model": name, "student": options, **counts, "validation_accuracy": found, "samples": total or "", **times}
        )

    bert = load.open(f"hf:bert(config={BERT}, classes=2, length=128)")
    pair = {"": bert, "layers: 6": student(bert, Drawn(bert), layers=6)}
    for told, times in in_turn(pair).items():
        add("BERT-base, random weights, 128 tokens", told, pair[told], timed=times)

    task = data.open("digits")
    resnet = load.open(str(ROOT / "checkpoints" / "resnet8-digits.safetensors"), task=task)
    add("resnet8-digits", "", resnet, task)
    for compensate in (False, True):
        for recover in (None, RECOVER):
            found = student(resnet, task, width=0.5, compensate=compensate, recover=recover)
            told = f"width: 0.5, compensate: {str(compensate).lower()}, {'3 epochs' if recover else 'untrained'}"
            add("resnet8-digits", told, found, task)
    write("students", rows)


if __name__ == "__main__":
    main()
