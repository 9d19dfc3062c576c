"""Evaluate, fine-tune, evaluate again: the rate falls when validation rises no more, and the best state is kept.

What has to be mended is a ResNet-8 that lost 90 % of its weights at once.
"""

import copy
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from shared import ROOT, Outcome, accuracy, batches, digits, result, show, zipped
from torch import nn
from torch.nn.functional import cross_entropy

from paring import load

MODEL = str(ROOT / "checkpoints" / "resnet8-digits.safetensors")
SPARSITY, EPOCHS, RATE, FACTOR, PATIENCE = 0.9, 8, 0.05, 0.3, 0


def plain_form() -> Outcome:
    """The loop by hand."""
    network = load.open(MODEL).module
    kernels = [one.weight for one in network.modules() if isinstance(one, nn.Conv2d | nn.Linear)]
    sizes = torch.cat([kernel.detach().abs().flatten() for kernel in kernels])
    threshold = sizes.kthvalue(int(SPARSITY * len(sizes))).values
    masks = [(kernel.detach().abs() > threshold).float() for kernel in kernels]

    def prune() -> None:
        with torch.no_grad():
            for kernel, mask in zip(kernels, masks, strict=True):
                kernel.mul_(mask)

    prune()
    images, labels = digits("train")
    torch.manual_seed(0)
    optimizer = torch.optim.SGD(network.parameters(), lr=RATE, momentum=0.9)
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, "max", factor=FACTOR, patience=PATIENCE)
    before, best, state = accuracy(network, *digits("test")), 0.0, None
    for _ in range(EPOCHS):
        network.train()
        for x, y in batches(images, labels):
            optimizer.zero_grad()
            cross_entropy(network(x), y).backward()
            optimizer.step()
            prune()
        found = accuracy(network, *digits("validation"))
        plateau.step(found)
        if found > best:
            best, state = found, copy.deepcopy(network.state_dict())
    network.load_state_dict(state)
    return Outcome(accuracy(network, *digits("test")), zipped(network), f"{before:.1f} % before, best {best:.1f} %")


def paring_form(folder: Path) -> Outcome:
    """Two steps of a recipe; a killed one goes on where it was."""
    recipe = {
        "model": MODEL,
        "data": "digits",
        "targets": ["litert"],
        "steps": [
            {"prune.magnitude": {"sparsity": SPARSITY}},
            {
                "finetune": {
                    "epochs": EPOCHS,
                    "batch_size": 64,
                    "learning_rate": RATE,
                    "schedule": "plateau",
                    "factor": FACTOR,
                    "patience": PATIENCE,
                    "warmup": 0,
                    "keep": "best",
                }
            },
        ],
    }
    return result(recipe, folder / "run", size="zipped_size")


def main(folder: Path) -> dict[str, Outcome]:
    """Both forms."""
    return show("ResNet-8 with 90 % zeros, mended; sizes zipped", plain=plain_form(), paring=paring_form(folder))


if __name__ == "__main__":
    with TemporaryDirectory() as temporary:
        main(Path(sys.argv[1] if len(sys.argv) > 1 else temporary))
