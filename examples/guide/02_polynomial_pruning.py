"""Pruning that grows as a network trains: MobileNetV2, from half of its weights to 80 % zeros, between two steps.

With TensorFlow one wraps the Keras model so that each kernel carries a mask, gives the wrapper a schedule of polynomial
decay (initial and final share, first and last step, how often), compiles again, trains with a callback that counts the
steps, and strips the wrappers from the model before it is converted. `plain_form` does the same by hand in PyTorch.
The network is that of `01_keras_to_tflite.py`.
"""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from shared import ROOT, Outcome, accuracy, batches, digits, result, show, zipped
from torch import nn
from torch.nn.functional import cross_entropy

from paring import load

MODEL = f"keras:{ROOT / 'checkpoints' / 'keras-mobilenet_v2-digits.keras'}"
INITIAL, FINAL, BEGIN, END, EVERY, EPOCHS = 0.5, 0.8, 0, 120, 12, 10


def plain_form() -> Outcome:
    """The schedule, the masks and the loop by hand."""
    network = load.open(MODEL, shape=(1, 8, 8)).module.to(memory_format=torch.channels_last)
    images, labels = digits("train")
    torch.manual_seed(0)
    kernels = [one.weight for one in network.modules() if isinstance(one, nn.Conv2d | nn.Linear)]
    masks = [torch.ones_like(kernel) for kernel in kernels]
    optimizer = torch.optim.SGD(network.parameters(), lr=0.02, momentum=0.9)
    step = 0
    for _ in range(EPOCHS):
        network.train()
        for x, y in batches(images, labels):
            if BEGIN <= step <= END and (step - BEGIN) % EVERY == 0:
                done = (step - BEGIN) / (END - BEGIN)
                share = FINAL + (INITIAL - FINAL) * (1 - done) ** 3
                for kernel, mask in zip(kernels, masks, strict=True):
                    threshold = kernel.detach().abs().flatten().kthvalue(max(1, int(share * kernel.numel()))).values
                    mask.copy_(kernel.detach().abs() > threshold)
            optimizer.zero_grad()
            cross_entropy(network(x), y).backward()
            optimizer.step()
            with torch.no_grad():
                for kernel, mask in zip(kernels, masks, strict=True):
                    kernel.mul_(mask)
            step += 1
    zeros = sum(int((kernel == 0).sum()) for kernel in kernels) / sum(kernel.numel() for kernel in kernels)
    return Outcome(accuracy(network, *digits("test")), zipped(network), f"{100 * zeros:.1f} % zeros")


def paring_form(folder: Path) -> Outcome:
    """One step of a recipe; the zeros are kept by later steps and counted in the exported file."""
    recipe = {
        "model": MODEL,
        "data": "digits",
        "targets": ["litert"],
        "steps": [
            {
                "prune.magnitude": {
                    "sparsity": FINAL,
                    "scope": "layer",
                    "polynomial": {"initial": INITIAL, "begin": BEGIN, "end": END, "frequency": EVERY},
                    "recover": {
                        "epochs": EPOCHS,
                        "batch_size": 64,
                        "learning_rate": 0.02,
                        "schedule": "constant",
                        "warmup": 0,
                    },
                }
            }
        ],
    }
    return result(recipe, folder / "run", size="zipped_size")


def main(folder: Path) -> dict[str, Outcome]:
    """Both forms."""
    return show("MobileNetV2, polynomial pruning; sizes zipped", plain=plain_form(), paring=paring_form(folder))


if __name__ == "__main__":
    with TemporaryDirectory() as temporary:
        main(Path(sys.argv[1] if len(sys.argv) > 1 else temporary))
