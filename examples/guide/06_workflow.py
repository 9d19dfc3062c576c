"""The whole workflow: select a network, quantize, prune, distil, factorize, evaluate and fine-tune.

Drawn as a figure, quantization comes first. Whoever does it all has to turn the order round: every other step changes
weights or shapes, which scales fixed before would no longer fit. paring refuses a recipe in another order, and names
one that works.
"""

import copy
import sys
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from safetensors.torch import save_file
from shared import Outcome, accuracy, batches, digits, result, show, weights
from torch import nn
from torch.nn.functional import cross_entropy, kl_div, log_softmax

svd = import_module("04_svd")
RATIO, SPARSITY, TEMPERATURE, SHARE, EPOCHS, RATE = 0.5, 0.5, 4.0, 0.5, 2, 0.02


def distil(student: nn.Module, teacher: nn.Module, masks: dict[str, torch.Tensor]) -> None:
    """Trains with the teacher's answers; what is pruned stays 0."""
    images, labels = digits("train")
    optimizer = torch.optim.SGD(student.parameters(), lr=RATE, momentum=0.9)
    for _ in range(EPOCHS):
        for x, y in batches(images, labels, 32):
            with torch.no_grad():
                taught = log_softmax(teacher(x) / TEMPERATURE, -1)
            answers = student(x)
            learned = log_softmax(answers / TEMPERATURE, -1)
            soft = kl_div(learned, taught, reduction="batchmean", log_target=True) * TEMPERATURE**2
            optimizer.zero_grad()
            ((1 - SHARE) * cross_entropy(answers, y) + SHARE * soft).backward()
            optimizer.step()
            with torch.no_grad():
                for name, mask in masks.items():
                    student.get_parameter(name).mul_(mask)


def plain_form(teacher: nn.Module) -> Outcome:
    """Each step by hand. Quantized are the weights, as PyTorch computes with them; no file is written."""
    test, network = digits("test"), copy.deepcopy(teacher)  # select
    course = [accuracy(network, *test)]
    network.hidden = svd.decomposed(network.hidden, RATIO)  # factorize
    course.append(accuracy(network, *test))
    matrices = {name: one for name, one in network.named_parameters() if one.ndim == 2}
    sizes = torch.cat([one.detach().abs().flatten() for one in matrices.values()])
    threshold = sizes.kthvalue(int(SPARSITY * len(sizes))).values
    masks = {name: (one.detach().abs() > threshold).float() for name, one in matrices.items()}
    with torch.no_grad():
        for name, mask in masks.items():  # prune
            matrices[name].mul_(mask)
    course.append(accuracy(network, *test))
    distil(network, teacher, masks)  # distil, which is the fine-tuning too
    course.append(accuracy(network, *test))
    with torch.no_grad():
        for one in matrices.values():  # quantize: int8, a scale for each row
            scale = one.abs().amax(1, keepdim=True) / 127
            one.copy_((one / scale).round() * scale)
    size = weights(network) - 3 * sum(one.numel() for one in matrices.values())
    told = " → ".join(f"{value:.1f}" for value in course)
    return Outcome(accuracy(network, *test), size, f"{told} % on the way")


def steps() -> list[dict[str, object]]:
    """Of the recipe, in an order that works."""
    taught = {"teacher": "original", "temperature": TEMPERATURE, "teacher_share": SHARE}
    return [
        {"factorize.svd": {"only": ["hidden"], "ratio": RATIO}},
        {"prune.magnitude": {"sparsity": SPARSITY}},
        {"distill": {**taught, "epochs": EPOCHS, "batch_size": 32, "learning_rate": RATE}},
        {"quantize.static": {"calibration": {"samples": 256}}},
    ]


def paring_form(teacher: nn.Module, folder: Path) -> Outcome:
    """A recipe; evaluated is the file, in its runtime."""
    save_file(teacher.state_dict(), folder / "dense.safetensors")
    recipe = {
        "model": "torch:shared:dense_network",
        "weights": str(folder / "dense.safetensors"),
        "data": "digits",
        "targets": ["litert"],
        "steps": steps(),
        "require": {"accuracy_drop": "2 pt"},
    }
    return result(recipe, folder / "run")


def main(folder: Path) -> dict[str, Outcome]:
    """Both forms."""
    teacher = svd.trained()
    return show("The workflow", plain=plain_form(teacher), paring=paring_form(teacher, folder))


if __name__ == "__main__":
    with TemporaryDirectory() as temporary:
        main(Path(sys.argv[1] if len(sys.argv) > 1 else temporary))
