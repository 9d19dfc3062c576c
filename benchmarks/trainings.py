"""Trainings that several benchmarks are made of: a few steps from a checkpoint each, kept in `runs/`, then judged."""

import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch

from paring import data, load
from paring.cli.show import Shown
from paring.core.model import Model
from paring.core.step import Context, Named
from paring.core.target import Limits
from paring.core.task import Split, Task
from paring.load import saved
from paring.measure import cost, machine
from paring.measure.latency import interleaved
from paring.steps import STEPS
from paring.targets.litert import LiteRT

ROOT = Path(__file__).parents[1]
SEEDS = (0, 1, 2)
EVERY = frozenset({"float32", "int8", "int4"})
Steps = Sequence[tuple[str, Mapping[str, Any]]]
Row = dict[str, object]

TUNING: Mapping[str, Any] = {
    "batch_size": 32, "learning_rate": 1e-4, "optimizer": "adamw", "weight_decay": 0.01, "schedule": "cosine",
    "warmup": 0.1, "clip_norm": 1.0,
}  # fmt: skip
"""How a transformer is trained on."""
RECOVERY: Mapping[str, Any] = {
    "learning_rate": 0.1, "weight_decay": 1e-4, "augment": True, "teacher": "original", "teacher_share": 0.9,
}  # fmt: skip
"""How a network of convolutions is, with itself as it was for a teacher."""


@dataclass(frozen=True)
class Network:
    """What is begun with.

    Attributes:
        name: for people.
        checkpoint: its file.
        data: as a recipe names them.
    """

    name: str
    checkpoint: Path
    data: str

    def opened(self) -> tuple[Task, Model]:
        """Data and model."""
        checkpoint = str(self.checkpoint)
        task = data.open(self.data, tokenization=load.tokenization(checkpoint))
        return task, load.open(checkpoint, task=task)


def mobilenet() -> Network:
    """MobileNetV2-0.5 on Fashion-MNIST."""
    return Network(
        "MobileNetV2-0.5", ROOT / "checkpoints" / "mobilenet_v2-w0.5-fashion_mnist.safetensors", "fashion-mnist"
    )


def resnet() -> Network:
    """ResNet-20 on Fashion-MNIST."""
    return Network("ResNet-20", ROOT / "checkpoints" / "resnet20-fashion_mnist.safetensors", "fashion-mnist")


def minilm(checkpoint: Path) -> Network:
    """all-MiniLM-L6-v2 fine-tuned on `reviews`; benchmarks/text.py says how it is made."""
    return Network("all-MiniLM", checkpoint, "reviews(length=64)")


@dataclass(frozen=True)
class Training:
    """Some steps from a network.

    Attributes:
        folder: in `runs/`.
        network: begun with.
        who: as in the table.
        steps: in their order.
        seed: of all chance.
        by_hand: what else is done to the model, after the steps.
    """

    folder: str
    network: Network
    who: str
    steps: Steps
    seed: int
    by_hand: Callable[[Model, Task, Model, int], Model] | None = field(default=None, compare=False)

    @property
    def path(self) -> Path:
        """Of the trained model."""
        name = f"{self.who.replace(' %', '').replace(', ', '-').replace(' ', '_')}-{self.seed}.safetensors"
        return ROOT / "runs" / self.folder / self.network.name / name

    def made(self, task: Task, original: Model) -> Model:
        """The model."""

        def opened(named: Named) -> Model:
            return load.open(named.model, task=task, seed=self.seed)

        model, work = original, self.path.with_suffix(".work")
        for number, (name, options) in enumerate(self.steps):
            step = STEPS.load(name)()
            context = Context(
                task, Limits(EVERY, EVERY), self.seed, original, work / str(number), Shown(), opened=opened
            )
            model = step.apply(model, step.Config.model_validate(options), context)
            print(f"{self.network.name}, {self.who}, seed {self.seed}: {model.history[-1].changed}", flush=True)
        shutil.rmtree(work, ignore_errors=True)
        return self.by_hand(model, task, original, self.seed) if self.by_hand else model


def train(trainings: Sequence[Training], part: str = "0/1") -> None:
    """Does what is not there yet; several processes take turns (`0/2` and `1/2`)."""
    index, parts = (int(one) for one in part.split("/"))
    for one in trainings[index::parts]:
        if one.path.exists():
            continue
        task, original = one.network.opened()
        begun = time.perf_counter()
        found = one.made(task, original)
        notes = {
            "seconds": time.perf_counter() - begun,
            **{split: on(found, original, task, split) for split in ("validation", "test")},
            "trained_on": torch.cuda.get_device_name() if torch.cuda.is_available() else machine.cpu(),
        }
        one.path.parent.mkdir(parents=True, exist_ok=True)
        saved.save(found, one.path, notes)
        print(one.path.stem, json.dumps(notes), flush=True)


def on(model: Model, original: Model, task: Task, split: Split) -> dict[str, float]:
    """Accuracy, and how often it answers as the original, %."""
    right = alike = 0
    for batch in task.batches(split, 100):
        found, wanted = (next(iter(one(batch.inputs).values())).argmax(1) for one in (model, original))
        right += int((found == batch.targets).sum())
        alike += int((found == wanted).sum())
    return {"accuracy": 100 * right / task.size(split), "agreement": 100 * alike / task.size(split)}


def judged(trainings: Sequence[Training]) -> list[Row]:
    """Means over the seeds, costs on paper, and files in LiteRT, beside each other for each network."""
    rows: list[Row] = []
    for network in dict.fromkeys(one.network for one in trainings):
        rows += _judged(network, [one for one in trainings if one.network == network and one.path.exists()])
    return rows


def _judged(network: Network, there: Sequence[Training]) -> list[Row]:
    rows: list[Row] = []
    task, original = network.opened()

    def note(who: str, metric: str, value: float, unit: str, spread: object = "", samples: object = "") -> None:
        rows.append(
            {"network": network.name, "who": who, "metric": metric, "value": f"{value:.5g}", "unit": unit,
             "spread": spread, "samples": samples}
        )  # fmt: skip

    for split in ("validation", "test"):
        own = on(original, original, task, split)["accuracy"]
        note("original", f"accuracy, {split}", own, "%", "", task.size(split))
    models = {"original": original}
    for who in dict.fromkeys(one.who for one in there):
        told = [saved.notes(one.path) for one in there if one.who == who]
        machines = " and ".join(dict.fromkeys(one["trained_on"] for one in told))
        for split in ("validation", "test"):
            for metric in ("accuracy", "agreement"):
                values = [one[split][metric] for one in told]
                spread = f"{stdev(values):.2g}" if len(values) > 1 else ""
                seeds = f"{len(values)} seed{'s' if len(values) > 1 else ''} on {machines}"
                note(who, f"{metric}, {split}", mean(values), "%", spread, seeds)
        models[who] = load.open(str(next(one.path for one in there if one.who == who)), task=task)
    target = LiteRT()
    folder = ROOT / "runs" / there[0].folder / network.name / "files"
    folder.mkdir(parents=True, exist_ok=True)
    files = {
        who: target.export(model, folder / f"{number}.tflite") for number, (who, model) in enumerate(models.items())
    }
    for who, model in models.items():
        if not model.fixed:
            note(who, "parameters", cost.parameters(model), "1")
            note(who, "MACs", cost.macs(model), "1")
        note(who, "size", files[who].stat().st_size, "B")
    runners = {who: target.open(file) for who, file in files.items()}
    for who, taken in interleaved(runners, seconds=10.0 * len(runners)).items():
        note(who, "latency", taken.median, "ms", f"{taken.spread:.2g}", taken.samples)
        note(who, "latency, of the original", taken.ratio, "1", f"{taken.ratio_spread:.2g}", taken.samples)
    return rows
