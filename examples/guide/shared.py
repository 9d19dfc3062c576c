"""What the examples share: the digits of scikit-learn, and how results are shown."""

import zlib
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

import paring
from paring import data

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Outcome:
    """What a form came to.

    Attributes:
        accuracy: on the test split, %.
        size: of the file or of the weights, bytes.
        told: anything else, in a few words.
    """

    accuracy: float
    size: int
    told: str = ""


def digits(split: str) -> tuple[Tensor, Tensor]:
    """Images (N, 1, 8, 8), normalized, and labels (N) of a split: the same for both forms."""
    batch = next(data.open("digits").batches(split, 10_000))
    return batch.inputs["image"], batch.targets


def accuracy(network: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Of a network in eval mode, %."""
    network.eval()
    with torch.no_grad():
        return 100 * float((network(images).argmax(1) == labels).float().mean())


def result(recipe: Mapping[str, object], out: Path, size: str = "size") -> Outcome:
    """Runs a recipe: accuracy and size of the first artifact, measured in its runtime."""
    found = paring.compress({"version": 1, "measure": {"stages": "ends"}, **recipe}, out=out)
    name = f"artifact:{next(iter(found.artifacts))}"
    values = {metric: found.report.find(name, metric)[0].value for metric in ("accuracy", size)}
    steps = "; ".join(stage.changed for stage in found.report.stages if stage.name[0].isdigit())
    return Outcome(values["accuracy"], int(values[size]), steps)


def show(title: str, **forms: Outcome) -> dict[str, Outcome]:
    """Prints the forms side by side."""
    print(title)
    for name, one in forms.items():
        print(f"  {name:<8} accuracy {one.accuracy:5.1f} %   size {one.size / 1024:7.1f} KiB   {one.told}")
    return forms


def dense_network(classes: int = 10) -> nn.Module:
    """Two dense layers for images of 8×8 pixels; most weights are in `hidden`."""
    layers = {
        "flatten": nn.Flatten(),
        "first": nn.Linear(64, 256),
        "relu1": nn.ReLU(),
        "hidden": nn.Linear(256, 256),
        "relu2": nn.ReLU(),
        "classifier": nn.Linear(256, classes),
    }
    return nn.Sequential(OrderedDict(layers))


def batches(images: Tensor, labels: Tensor, size: int = 64) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch of training batches in random order."""
    for chosen in torch.randperm(len(labels)).split(size):
        if len(chosen) == size:
            yield images[chosen], labels[chosen]


def zipped(network: nn.Module) -> int:
    """Bytes of the weights, zipped: what zeros save."""
    return len(zlib.compress(b"".join(one.detach().numpy().tobytes() for one in network.state_dict().values()), 9))


def weights(network: nn.Module) -> int:
    """Bytes of the parameters in float32."""
    return 4 * sum(one.numel() for one in network.parameters())
