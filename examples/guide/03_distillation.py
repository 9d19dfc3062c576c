"""A small network learns from the answers of a large one: cross-entropy with labels, KL divergence from the teacher.

The teacher is the ResNet-8 of `checkpoints/`, the student a DS-CNN with a third of its parameters and drawn weights.
"""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from shared import ROOT, Outcome, accuracy, batches, digits, result, show, weights
from torch.nn.functional import cross_entropy, kl_div, log_softmax, softmax

from paring import load

TEACHER = str(ROOT / "checkpoints" / "resnet8-digits.safetensors")
STUDENT = "zoo:ds_cnn(classes=10)"
TEMPERATURE, SHARE, EPOCHS = 4.0, 0.5, 4


def plain_form() -> Outcome:
    """The loop by hand."""
    teacher, student = load.open(TEACHER).module, load.open(STUDENT, shape=(1, 8, 8)).module
    images, labels = digits("train")
    torch.manual_seed(0)
    optimizer = torch.optim.SGD(student.parameters(), lr=0.1, momentum=0.9, nesterov=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS * (len(labels) // 32))
    for _ in range(EPOCHS):
        student.train()
        for x, y in batches(images, labels, 32):
            with torch.no_grad():
                taught = softmax(teacher(x) / TEMPERATURE, -1)
            answers = student(x)
            soft = kl_div(log_softmax(answers / TEMPERATURE, -1), taught, reduction="batchmean") * TEMPERATURE**2
            optimizer.zero_grad()
            ((1 - SHARE) * cross_entropy(answers, y) + SHARE * soft).backward()
            optimizer.step()
            schedule.step()
    told = f"{weights(student) // 4:,} of the teacher's {weights(teacher) // 4:,} parameters"
    return Outcome(accuracy(student, *digits("test")), weights(student), told)


def paring_form(folder: Path) -> Outcome:
    """The student, and who teaches it."""
    taught = {"teacher": "original", "temperature": TEMPERATURE, "teacher_share": SHARE}
    training = {"epochs": EPOCHS, "batch_size": 32, "learning_rate": 0.1}
    recipe = {
        "model": TEACHER,
        "data": "digits",
        "targets": ["litert"],
        "steps": [{"distill.student": {"model": STUDENT, "recover": {**taught, **training}}}],
    }
    return result(recipe, folder / "run")


def main(folder: Path) -> dict[str, Outcome]:
    """Both forms."""
    return show("A student of ResNet-8", plain=plain_form(), paring=paring_form(folder))


if __name__ == "__main__":
    with TemporaryDirectory() as temporary:
        main(Path(sys.argv[1] if len(sys.argv) > 1 else temporary))
