"""From a Keras file to LiteRT: load it, see what it costs, export it, compare the answers with Keras's.

The model is a small MobileNetV2 with random weights; put your own file in its place.
"""

import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

os.environ["KERAS_BACKEND"] = "torch"  # paring reads Keras files on this backend

import keras
import numpy as np

from paring import load
from paring.core.target import ExportOptions
from paring.measure import cost
from paring.targets.litert import LiteRT


def main(folder: Path) -> float:
    """Writes both files into `folder` and gives the largest difference between their answers."""
    original = keras.applications.MobileNetV2(input_shape=(96, 96, 3), alpha=0.35, weights=None, classes=10)
    original.save(folder / "model.keras")

    model = load.open(f"keras:{folder / 'model.keras'}")  # raises an error unless it answers as Keras does
    print(f"{cost.parameters(model)} parameters, {cost.macs(model) / 1e6:.1f} M multiply-accumulates")

    artifact = LiteRT().export(model, folder / "model.tflite", ExportOptions(layout="NHWC"))
    images = np.random.default_rng(0).normal(size=(4, 96, 96, 3)).astype("float32")
    answers = LiteRT().open(artifact).run({model.inputs[0].name: images.transpose(0, 3, 1, 2)})["output"]
    apart = float(np.abs(answers - original(images, training=False).detach().numpy()).max())
    print(f"{artifact.name}: {artifact.stat().st_size >> 10} KiB, largest difference to Keras {apart:.1e}")
    return apart


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with TemporaryDirectory() as temporary:
            main(Path(temporary))
