"""Small models and a small task for contract suites and self-tests."""

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Literal

from paring.core.model import Json, Model, TensorSpec
from paring.core.step import Context
from paring.core.target import Target, one_sample, why_not_run
from paring.core.task import Batch, Split

if TYPE_CHECKING:
    from torch import Tensor

_SIZES: dict[Split, int] = {"train": 96, "validation": 32, "calibration": 64, "test": 48}


def tiny(seed: int = 0) -> Model:
    """A convolutional network of some hundred parameters: 8×8 gray images, 10 classes."""
    from paring import load

    return load.open("torch:paring.testing.networks:tiny_network", shape=(1, 8, 8), seed=seed)


@cache
def quantized(activations: Literal["int8", "int16"] = "int8") -> Model:
    """The tiny network, quantized to int8 weights and to activations of that type."""
    from paring.steps.quantize.static import Calibration, QuantizeStatic, StaticConfig
    from paring.targets.litert import LiteRT

    with TemporaryDirectory() as folder:
        context = Context(TinyTask(), LiteRT.limits, 0, tiny(), Path(folder))
        return QuantizeStatic().apply(
            tiny(), StaticConfig(activations=activations, calibration=Calibration(samples=64)), context
        )


def unknown_operator() -> Model:
    """A network with two layers of operators that no runtime for devices has."""
    from paring import load

    return load.open("torch:paring.testing.networks:strange_network", shape=(1, 8, 8))


def foreign_operator() -> Model:
    """A network with two layers of an operator of another library than PyTorch."""
    from paring import load

    return load.open("torch:paring.testing.networks:foreign_network", shape=(1, 8, 8))


def round_trip(target: Target) -> tuple[float, float] | None:
    """Largest difference between the tiny model and its file in the target's runtime, and how large it may be.

    The model is quantized for a target that takes no other. None where this machine cannot run the file.
    """
    import numpy as np

    from paring.measure.answers import of_model

    floats, chance = "float32" in target.limits.activations, np.random.default_rng(0)
    model = tiny() if floats else quantized()
    images = {"image": chance.normal(size=(4, *one_sample(model.inputs)["image"].shape[1:])).astype(np.float32)}
    with TemporaryDirectory() as folder:
        file = target.export(model, Path(folder) / f"tiny{target.suffix}")
        if why_not_run(target) is not None:
            return None
        got, wanted = target.open(file).run(images)["output"], of_model(model)(images)["output"]
    # of codes: the runtime may round one apart, here and there another one from that
    allowed = 1e-4 if floats else 2.01 * float(np.diff(np.unique(wanted)).min())
    return float(np.abs(got - wanted).max()), allowed


class TinyTask:
    """Ten classes of 8×8 images, each a bright stripe in noise. Contract: `paring.core.task.Task`."""

    name = "tiny"
    identity = "tiny-1"
    inputs: tuple[TensorSpec, ...] = (TensorSpec("image", ("batch", 1, 8, 8), "float32", "NCHW", (-3.0, 3.0)),)
    labels: tuple[str, ...] = tuple("abcdefghij")
    preprocessing: Mapping[str, Json] = {}

    def size(self, split: Split) -> int:
        """Number of samples in a split."""
        return _SIZES[split]

    def batches(
        self,
        split: Split,
        batch_size: int,
        *,
        limit: int | None = None,
        shuffle: int | None = None,
        augment: bool = False,
        shard: tuple[int, int] = (0, 1),
        skip: int = 0,
    ) -> Iterator[Batch]:
        """The samples of a split; see `Task.batches`."""
        import torch

        images, targets = _stripes("train" if split == "calibration" else split)
        count = min(limit or _SIZES[split], _SIZES[split])
        order = torch.arange(count)
        if shuffle is not None:
            order = torch.randperm(count, generator=torch.Generator().manual_seed(shuffle))
            count -= count % batch_size
        for start in range(skip * batch_size, count, batch_size):
            chosen = order[start : min(start + batch_size, count)][shard[0] :: shard[1]]
            yield Batch({"image": images[chosen]}, targets[chosen], None if augment else chosen)

    def loss(self, outputs: "Mapping[str, Tensor]", targets: "Tensor", label_smoothing: float = 0.0) -> "Tensor":
        """Cross-entropy."""
        from torch.nn.functional import cross_entropy

        return cross_entropy(outputs["output"], targets, label_smoothing=label_smoothing)


@cache
def _stripes(split: Split) -> "tuple[Tensor, Tensor]":
    import torch

    chance = torch.Generator().manual_seed(list(_SIZES).index(split))
    targets = torch.arange(_SIZES[split]) % 10
    images = torch.randn(_SIZES[split], 1, 8, 8, generator=chance) / 2
    for image, target in zip(images, targets.tolist(), strict=True):
        if target < 8:
            image[0, target] += 2
        else:
            image[0, :, target - 8] += 2
    return images, targets
