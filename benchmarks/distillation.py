"""Students: MobileNetV2-0.25 on Fashion-MNIST taught by 0.5, three layers of all-MiniLM on `reviews` taught by six.

    python benchmarks/distillation.py train [--only vision|text] [--part 0/2]
    python benchmarks/distillation.py judge --checkpoint minilm.safetensors

Students of a kind have the same first weights, epochs, samples and schedule; three seeds. Options were chosen on the
validation split with one seed; the test split is read once, for the table. What is in runs/distillation is not done
again. The checkpoint of the six layers is made as benchmarks/text.py says; texts have 64 tokens.
"""

import argparse
import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch
from table import write
from torch.nn.functional import cross_entropy, kl_div, log_softmax

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
WORK = ROOT / "runs" / "distillation"
TEACHER = {
    "vision": ROOT / "checkpoints" / "mobilenet_v2-w0.5-fashion_mnist.safetensors",
    "text": ROOT / "runs" / "minilm.safetensors",
}
DATA = {"vision": "fashion-mnist", "text": "reviews(length=64)"}
SEEDS = (0, 1, 2)
EVERY = frozenset({"float32", "int8", "int4"})
Steps = Sequence[tuple[str, Mapping[str, Any]]]

SCRATCH: Mapping[str, Any] = {"epochs": 5, "learning_rate": 0.2, "augment": True}
TUNING: Mapping[str, Any] = {
    "epochs": 2, "batch_size": 32, "learning_rate": 1e-4, "optimizer": "adamw", "weight_decay": 0.01,
    "schedule": "cosine", "warmup": 0.1, "clip_norm": 1.0,
}  # fmt: skip
SMALL = ("distill.student", {"model": "zoo:mobilenet_v2(width=0.25)"})
THREE = ("distill.student", {"layers": [1, 3, 5]})
SOFT: Mapping[str, Any] = {"temperature": 2.0, "teacher_share": 0.9}
VISION: Mapping[str, Steps] = {
    "labels alone": [SMALL, ("finetune", {**SCRATCH, "label_smoothing": 0.1})],
    "soft targets": [SMALL, ("distill", {**SCRATCH, "temperature": 4.0, "teacher_share": 0.9})],
    "soft targets, a plain loop": [SMALL],  # trained by `plain` below
}
TEXT: Mapping[str, Steps] = {
    "soft targets and hidden states": [THREE, ("distill", {**TUNING, **SOFT, "features": ["hidden_cosine"]})],
    "labels alone": [THREE, ("finetune", TUNING)],
    "embedding of rank 104, soft targets and hidden states": [
        ("factorize.svd", {"only": ["@embedding"], "rank": 104, "keep": ["*position*", "*token_type*"]}),
        THREE,
        ("distill", {**TUNING, **SOFT, "features": ["hidden_cosine"]}),
    ],
}


@dataclass(frozen=True)
class Student:
    """One training.

    Attributes:
        kind: vision or text.
        who: as in the table.
        steps: that make it of its teacher.
        seed: of all chance.
    """

    kind: str
    who: str
    steps: Steps
    seed: int

    @property
    def path(self) -> Path:
        """Of the trained model."""
        return WORK / self.kind / f"{self.who.replace(', ', '-').replace(' ', '_')}-{self.seed}.safetensors"


def students(only: str | None) -> list[Student]:
    """All of them, seed by seed."""
    every = {"vision": VISION, "text": TEXT}
    kinds = [kind for kind in every if only in (None, kind)]
    return [Student(kind, who, steps, seed) for seed in SEEDS for kind in kinds for who, steps in every[kind].items()]


def opened(kind: str) -> tuple[Task, Model]:
    """Data and teacher."""
    checkpoint = str(TEACHER[kind])
    task = data.open(DATA[kind], tokenization=load.tokenization(checkpoint))
    return task, load.open(checkpoint, task=task)


def made(one: Student, task: Task, teacher: Model, folder: Path) -> Model:
    """The student of a teacher."""

    def named(name: Named) -> Model:
        return load.open(name.model, task=task, seed=one.seed)

    limits = Limits(EVERY, EVERY)
    model = teacher
    for number, (name, options) in enumerate(one.steps):
        step = STEPS.load(name)()
        context = Context(task, limits, one.seed, teacher, folder / str(number), Shown(), opened=named)
        model = step.apply(model, step.Config.model_validate(options), context)
        print(f"{one.kind}, {one.who}, seed {one.seed}: {model.history[-1].changed}", flush=True)
    return plain(model, task, teacher, one.seed) if one.who.endswith("a plain loop") else model


def plain(model: Model, task: Task, teacher: Model, seed: int) -> Model:
    """Distillation as a page of PyTorch has it: the same samples, epochs and rates, no label smoothing."""
    options = dict(VISION["soft targets"][1][1])
    temperature, share, epochs = options["temperature"], options["teacher_share"], options["epochs"]
    student, batch_size = model.module.train(), 128
    optimizer = torch.optim.SGD(student.parameters(), lr=0.2, momentum=0.9, weight_decay=5e-5)
    steps = epochs * (task.size("train") // batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.2, total_steps=steps, pct_start=0.2)
    for epoch in range(epochs):
        for batch in task.batches("train", batch_size, shuffle=1000 * seed + epoch, augment=True):
            (images,) = batch.inputs.values()
            with torch.no_grad():
                taught = teacher.module(images)
            learned = student(images)
            soft = kl_div(
                log_softmax(learned / temperature, 1), log_softmax(taught / temperature, 1),
                reduction="batchmean", log_target=True,
            )  # fmt: skip
            loss = (1 - share) * cross_entropy(learned, batch.targets) + share * temperature**2 * soft
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    student.eval()
    return model


def train(only: str | None, part: int, parts: int) -> None:
    """Trains what is not there yet; several processes take turns."""
    for one in students(only)[part::parts]:
        if one.path.exists():
            continue
        task, teacher = opened(one.kind)
        begun, work = time.perf_counter(), WORK / "work" / one.path.stem
        found = made(one, task, teacher, work)
        notes = {
            "seconds": time.perf_counter() - begun,
            **{split: on(found, teacher, task, split) for split in ("validation", "test")},
            "trained_on": torch.cuda.get_device_name() if torch.cuda.is_available() else machine.cpu(),
        }
        one.path.parent.mkdir(parents=True, exist_ok=True)
        saved.save(found, one.path, notes)
        shutil.rmtree(work, ignore_errors=True)
        print(one.path.stem, json.dumps(notes), flush=True)


def on(model: Model, teacher: Model, task: Task, split: Split) -> dict[str, float]:
    """Accuracy, and how often it answers as the teacher, %."""
    right = alike = 0
    for batch in task.batches(split, 100):
        found, wanted = (next(iter(one(batch.inputs).values())).argmax(1) for one in (model, teacher))
        right += int((found == batch.targets).sum())
        alike += int((found == wanted).sum())
    return {"accuracy": 100 * right / task.size(split), "agreement": 100 * alike / task.size(split)}


def judge(kind: str) -> list[dict[str, object]]:
    """Means over the seeds, and files in LiteRT."""
    rows: list[dict[str, object]] = []
    task, teacher = opened(kind)

    def note(who: str, metric: str, value: float, unit: str, spread: object = "", samples: object = "") -> None:
        rows.append(
            {"network": kind, "who": who, "metric": metric, "value": f"{value:.5g}", "unit": unit,
             "spread": spread, "samples": samples}
        )  # fmt: skip

    note("teacher", "accuracy, test", on(teacher, teacher, task, "test")["accuracy"], "%", "", task.size("test"))
    there = [one for one in students(kind) if one.path.exists()]
    models = {"teacher": teacher}
    for who in dict.fromkeys(one.who for one in there):
        told = [saved.notes(one.path) for one in there if one.who == who]
        machines = " and ".join(dict.fromkeys(one["trained_on"] for one in told))
        for split in ("validation", "test"):
            for metric in ("accuracy", "agreement"):
                values = [one[split][metric] for one in told]
                spread = f"{stdev(values):.2g}" if len(values) > 1 else ""
                note(who, f"{metric}, {split}", mean(values), "%", spread, f"{len(values)} seeds on {machines}")
        models[who] = load.open(str(next(one.path for one in there if one.who == who)), task=task)
    target, folder = LiteRT(), WORK / "files" / kind
    folder.mkdir(parents=True, exist_ok=True)
    files = {
        who: target.export(model, folder / f"{number}.tflite") for number, (who, model) in enumerate(models.items())
    }
    for who, model in models.items():
        note(who, "parameters", cost.parameters(model), "1")
        note(who, "MACs", cost.macs(model), "1")
        note(who, "size", files[who].stat().st_size, "B")
    runners = {who: target.open(file) for who, file in files.items()}
    for who, taken in interleaved(runners, seconds=10.0 * len(runners)).items():
        note(who, "latency", taken.median, "ms", f"{taken.spread:.2g}", taken.samples)
        note(who, "latency, of the teacher", taken.ratio, "1", f"{taken.ratio_spread:.2g}", taken.samples)
    return rows


def main() -> None:
    """Does what is asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("train", "judge"))
    parser.add_argument("--only", choices=tuple(DATA))
    parser.add_argument("--part", default="0/1", help="e.g. 0/2: every second training")
    parser.add_argument("--checkpoint", type=Path, default=TEACHER["text"], help="all-MiniLM trained on reviews")
    given = parser.parse_args()
    TEACHER["text"] = given.checkpoint
    if given.what == "train":
        train(given.only, *(int(one) for one in given.part.split("/")))
    else:
        write("distillation", [row for kind in DATA for row in judge(kind)])


if __name__ == "__main__":
    main()
