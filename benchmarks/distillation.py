"""Students: MobileNetV2-0.25 on Fashion-MNIST taught by 0.5, three layers of all-MiniLM on `reviews` taught by six.

    python benchmarks/distillation.py train --checkpoint minilm.safetensors [--only text] [--part 0/2]
    python benchmarks/distillation.py judge --checkpoint minilm.safetensors

Students of a kind have the same first weights, epochs, samples and schedule; three seeds. The options are one guess
each; for images soft targets alone were tried before, with one seed (90.3 % of the validation split; with hints 91.1 %,
labels alone 89.9 %). The test split is read once, for the table. What is in runs/distillation is not done again.
The checkpoint of the six layers is made as benchmarks/text.py says; texts have 64 tokens.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from table import write
from torch.nn.functional import cross_entropy, kl_div, log_softmax
from trainings import ROOT, SEEDS, TUNING, Steps, Training, judged, minilm, mobilenet, train

from paring.core.model import Model
from paring.core.task import Task

SCRATCH: Mapping[str, Any] = {"epochs": 5, "learning_rate": 0.2, "augment": True}
SMALL = ("distill.student", {"model": "zoo:mobilenet_v2(width=0.25)"})
VISION: Mapping[str, Steps] = {
    "labels alone": [SMALL, ("finetune", {**SCRATCH, "label_smoothing": 0.1})],
    "soft targets": [SMALL, ("distill", {**SCRATCH, "temperature": 4.0, "teacher_share": 0.9})],
    "soft targets and hints": [
        SMALL,
        ("distill", {**SCRATCH, "temperature": 4.0, "teacher_share": 0.9, "features": ["hints"]}),
    ],
    "soft targets, a plain loop": [SMALL],
}
THREE = ("distill.student", {"layers": [1, 3, 5]})
TAUGHT = (
    "distill",
    {**TUNING, "epochs": 2, "temperature": 2.0, "teacher_share": 0.9, "features": ["hidden_cosine"]},
)
WORDS = {"only": ["@embedding"], "rank": 104, "keep": ["*position*", "*token_type*"]}


def narrowed(epochs: int) -> tuple[str, Mapping[str, Any]]:
    """Words of rank 104, and so many epochs more."""
    return ("factorize.svd", {**WORDS, "recover": {**TAUGHT[1], "epochs": epochs, "teacher": "original"}})


TEXT: Mapping[str, Steps] = {
    "soft targets and hidden states": [THREE, TAUGHT],
    "labels alone": [THREE, ("finetune", {**TUNING, "epochs": 2})],
    "embedding of rank 104 afterwards, one epoch more": [THREE, TAUGHT, narrowed(1)],
    "embedding of rank 104 afterwards, two epochs more": [THREE, TAUGHT, narrowed(2)],
}


def plain(model: Model, task: Task, teacher: Model, seed: int) -> Model:
    """Distillation as a page of PyTorch has it: the same samples, epochs and rates."""
    options = VISION["soft targets"][1][1]
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


def trainings(checkpoint: Path, only: str | None) -> list[Training]:
    """All of them, seed by seed."""
    found = []
    for seed in SEEDS:
        if only in (None, "vision"):
            found += [
                Training("distillation", mobilenet(), who, steps, seed, plain if who.endswith("loop") else None)
                for who, steps in VISION.items()
            ]
        if only in (None, "text"):
            found += [Training("distillation", minilm(checkpoint), *one, seed) for one in TEXT.items()]
    return found


def main() -> None:
    """Does what is asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("train", "judge"))
    parser.add_argument("--only", choices=("vision", "text"))
    parser.add_argument("--part", default="0/1", help="e.g. 0/2: every second training")
    parser.add_argument("--checkpoint", type=Path, default=ROOT / "runs" / "minilm.safetensors")
    given = parser.parse_args()
    found = trainings(given.checkpoint, given.only)
    if given.what == "train":
        train(found, given.part)
    else:
        write("distillation", judged(found))


if __name__ == "__main__":
    main()
