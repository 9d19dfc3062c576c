"""How long an epoch of the demo's network takes, and against the form that keeps every resolution.

Three whole epochs through `paring.train`, evaluation included, on the machine as it is; then single steps of two
forms of MobileNetV2 (width 0.5) in turn: the small one on 28 pixels, and one with a stem of stride 1 on 32 (the plain
way to fit an ImageNet network to small images). The ratio holds on a busy or another machine, seconds do not.
"""

import time
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory

import torch
from table import write
from torch import nn

from paring import load
from paring.data import open as open_data
from paring.load.zoo import mobilenet_v2 as zoo
from paring.train.config import TrainConfig
from paring.train.loop import fit

EPOCHS, ROUNDS, BATCH, THREADS = 3, 40, 128, 2


def stem_of_stride_1() -> nn.Module:
    """The paper's strides, but for the stem's."""
    module = zoo.mobilenet_v2(classes=10, channels=1, size=32, width=0.5, form="imagenet")
    stem = next(layer for layer in module.modules() if isinstance(layer, nn.Conv2d))
    stem.stride = (1, 1)
    return module


def steps(forms: dict[str, tuple[nn.Module, int]]) -> dict[str, list[float]]:
    """Milliseconds of each step, the forms in turn."""
    labels = torch.randint(0, 10, (BATCH,))
    taken: dict[str, list[float]] = {name: [] for name in forms}
    ready = {}
    for name, (network, size) in forms.items():
        module = network.train().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        image = torch.randn(BATCH, 1, size, size).contiguous(memory_format=torch.channels_last)
        optimizer = torch.optim.SGD(module.parameters(), lr=0.01, momentum=0.9, nesterov=True)
        ready[name] = module, image, optimizer
    for turn in range(ROUNDS + 5):
        for name, (module, image, optimizer) in ready.items():
            start = time.perf_counter()
            nn.functional.cross_entropy(module(image), labels).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            optimizer.zero_grad()
            if turn >= 5:  # the first ones warm up
                taken[name].append(1000 * (time.perf_counter() - start))
    return taken


def main() -> None:
    """Runs everything and writes `results/training.csv`."""
    torch.set_num_threads(THREADS)
    task = open_data("fashion-mnist")
    made = load.open("zoo:mobilenet_v2(width=0.5)", task=task)
    small = load.open("zoo:mobilenet_v2(width=0.5)", task=task).module
    forms = {"small form, 28 pixels": (small, 28), "stem of stride 1, 32 pixels": (stem_of_stride_1(), 32)}
    config = TrainConfig.model_validate(
        {"epochs": EPOCHS, "augment": True, "label_smoothing": 0.1, "nesterov": True, "learning_rate": 0.2}
    )
    with TemporaryDirectory() as folder:
        history = fit(made, task, config, seed=0, directory=Path(folder)).history
    rows: list[dict[str, object]] = [
        {"who": "small form, 28 pixels", "metric": f"epoch {epoch.number}, with evaluation",
         "value": f"{epoch.seconds:.1f}", "unit": "s", "spread": "", "samples": 1, "threads": THREADS}
        for epoch in history
    ]  # fmt: skip
    taken = steps(forms)
    for name, values in taken.items():
        low, _, high = quantiles(values, n=4)
        rows.append({"who": name, "metric": f"step of {BATCH}", "value": f"{median(values):.1f}", "unit": "ms",
                     "spread": f"{(high - low) / 2:.1f}", "samples": len(values), "threads": THREADS})  # fmt: skip
    ratios = [a / b for a, b in zip(*taken.values(), strict=True)]
    rows.append({"who": "small / stem of stride 1", "metric": f"step of {BATCH}", "value": f"{median(ratios):.3f}",
                 "unit": "1", "spread": "", "samples": len(ratios), "threads": THREADS})  # fmt: skip
    write("training", rows)


if __name__ == "__main__":
    main()
