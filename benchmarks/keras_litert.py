"""A MobileNetV2 that came from Keras in LiteRT: paring's file beside the one that TensorFlow's converter makes.

Both are float, take NHWC and are timed interleaved, one thread. Operators are counted in both files. TensorFlow is not
in paring's environment: give its file (`--tflite`), or a Python that has tensorflow 2.21 (`--python`).
"""

import argparse
import os
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

os.environ["KERAS_BACKEND"] = "torch"

import numpy as np
from keras_door import randomized
from table import write

from paring import load
from paring.core.target import ExportOptions
from paring.measure import measurements
from paring.targets.litert import LiteRT
from paring.targets.litert.contents import operators

NAME = "MobileNetV2"
CONVERT = """
import sys
import tensorflow as tf
model = tf.keras.models.load_model(sys.argv[1], compile=False)
open(sys.argv[2], "wb").write(tf.lite.TFLiteConverter.from_keras_model(model).convert())
"""


def main() -> None:
    """Makes both files, compares them and writes `results/keras_litert.csv`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--tflite", type=Path, help="made by TensorFlow of the same model, weights and all")
    parser.add_argument("--python", help="a Python that has tensorflow")
    parser.add_argument("--seconds", type=float, default=60)
    given = parser.parse_args()
    target, rows = LiteRT(), []
    with TemporaryDirectory() as folder:
        saved = Path(folder) / "model.keras"
        randomized(NAME).save(saved)
        theirs = given.tflite or Path(folder) / "tensorflow.tflite"
        if given.tflite is None:
            others = ("KERAS_BACKEND", "PYTHONPATH")
            environment = {key: value for key, value in os.environ.items() if key not in others}
            command = [given.python, "-c", CONVERT, str(saved), str(theirs)]
            subprocess.run(command, check=True, capture_output=True, env=environment)
        model = load.open(f"keras:{saved}")
        ours = target.export(model, Path(folder) / "paring.tflite", ExportOptions(layout="NHWC"))
        files = {"TensorFlow's converter": theirs, "paring": ours}
        runners = {who: target.open(path) for who, path in files.items()}
        image = np.random.default_rng(0).normal(size=(4, 3, 224, 224)).astype("float32")
        answers = [runner.run({runner.inputs[0].name: image}) for runner in runners.values()]
        one, other = (next(iter(answer.values())) for answer in answers)
        for who, path in files.items():
            rows.append({"who": who, "metric": "size", "value": path.stat().st_size, "unit": "B", "spread": ""})
            for name, count in sorted(operators(path.read_bytes()).items()):
                rows.append({"who": who, "metric": f"operators {name}", "value": count, "unit": "1", "spread": ""})
        rows.append(
            {"who": "both", "metric": "largest difference", "value": f"{np.abs(one - other).max():.1e}",
             "unit": f"of answers up to {np.abs(one).max():.2g}", "spread": ""}
        )  # fmt: skip
        for record in measurements.latency(runners, seconds=given.seconds):
            rows.append(
                {"who": record.stage, "metric": record.metric, "value": f"{record.value:.4g}", "unit": record.unit,
                 "spread": f"{record.spread or 0:.2g}"}
            )  # fmt: skip
    write("keras_litert", rows)


if __name__ == "__main__":
    main()
