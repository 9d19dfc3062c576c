"""Every architecture of keras.applications through the door `keras:`: does it load, how exactly, at what cost.

Weights are None; weights and batch-norm statistics are drawn so that activations stay sane. Each architecture runs in a
process of its own, so that none is short of memory because of another. `--litert` exports a representative set too and
compares the answers of the file in LiteRT with Keras's.
"""

import argparse
import csv
import gc
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

os.environ["KERAS_BACKEND"] = "torch"

REPEATS = 2
LARGE = 20_000_000  # parameters from which one time must do
TESTED = 8  # images that LiteRT answers
CONDITIONS = ("cpu", "cores", "python", "versions", "date", "script")
ARCHITECTURES = (
    "MobileNet", "MobileNetV2", "MobileNetV3Small", "MobileNetV3Large", "EfficientNetB0", "EfficientNetB1",
    "EfficientNetB2", "EfficientNetB3", "EfficientNetB4", "EfficientNetB5", "EfficientNetB6", "EfficientNetB7",
    "EfficientNetV2B0", "EfficientNetV2B1", "EfficientNetV2B2", "EfficientNetV2B3", "EfficientNetV2S",
    "EfficientNetV2M", "EfficientNetV2L", "ResNet50", "ResNet101", "ResNet152", "ResNet50V2", "ResNet101V2",
    "ResNet152V2", "DenseNet121",
    "DenseNet169", "DenseNet201", "InceptionV3", "InceptionResNetV2", "Xception", "NASNetMobile", "NASNetLarge",
    "ConvNeXtTiny", "ConvNeXtSmall", "ConvNeXtBase", "VGG16", "VGG19", "ConvNeXtLarge", "ConvNeXtXLarge",
)  # fmt: skip
IN_LITERT = ("MobileNet", "MobileNetV2", "MobileNetV3Small", "EfficientNetB0", "EfficientNetV2B0", "ResNet50",
             "DenseNet121", "InceptionV3", "Xception", "NASNetMobile", "ConvNeXtTiny", "VGG16")  # fmt: skip


def randomized(name: str) -> Any:
    """The architecture, with weights of unit gain and batch-norm statistics away from zero and one."""
    import keras
    import numpy as np

    model = getattr(keras.applications, name)(weights=None, classifier_activation=None)
    chance = np.random.default_rng(0)
    for weight in model.weights:
        shape, kind = tuple(weight.shape), weight.path.rpartition("/")[2]
        if kind in ("moving_variance", "gamma"):
            value = chance.uniform(0.8, 1.2, shape)
        elif kind in ("moving_mean", "beta", "bias"):
            value = chance.uniform(-0.1, 0.1, shape)
        elif "kernel" in kind and len(shape) > 1:
            fan = np.prod(shape[:2]) if "depthwise" in weight.path and len(shape) == 4 else np.prod(shape[:-1])
            value = chance.standard_normal(shape) * (1.3 / np.sqrt(fan))
        else:
            continue  # counters, and what normalizes the input
        weight.assign(value.astype("float32"))
    return model


def measured(name: str, litert: bool) -> dict[str, object]:
    """One architecture; runs in a process of its own."""
    import keras
    import numpy as np
    import torch

    from paring import load
    from paring.core.errors import ParingError
    from paring.core.model import TensorSpec
    from paring.load import prove
    from paring.measure.answers import of_model

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        original = randomized(name)
        original.save(path)
        row: dict[str, Any] = {"architecture": name, "parameters": original.count_params()}
        side = (original.input_shape[1] if original.input_shape else None) or 224
        del original
        gc.collect()
        spec = TensorSpec("image", ("batch", side, side, 3))
        (images,) = prove.samples([spec])  # as many as the proof runs on
        tested = np.random.default_rng(1).normal(size=(TESTED if litert else 2, 3, side, side)).astype("float32")
        ours, theirs = [], []
        for _ in range(REPEATS if row["parameters"] < LARGE else 1):  # in turn
            start = time.perf_counter()
            original = keras.saving.load_model(path, compile=False)
            with torch.no_grad():
                original(images, training=False)
                theirs.append(time.perf_counter() - start)
                wanted = original(np.moveaxis(tested, 1, -1), training=False).numpy()
            del original
            gc.collect()
            start = time.perf_counter()
            try:
                model = load.open(f"keras:{path}", shape=(3, side, side))
            except ParingError as error:
                return row | {"loads": "no", "reason": str(error).splitlines()[0].replace(folder, "")}
            ours.append(time.perf_counter() - start)
            gc.collect()
        found = of_model(model)({model.inputs[0].name: tested})["output"]
        row |= {
            "loads": "yes",
            "largest difference": f"{np.abs(found - wanted).max():.1e}",
            "relative": f"{prove.difference(found, wanted):.1e}",
            "largest answer": f"{np.abs(wanted).max():.2g}",
            "threads": torch.get_num_threads(),
            "load": f"{min(ours):.2f} s",
            "keras load + forward": f"{min(theirs):.2f} s",
            "ratio": f"{min(ours) / min(theirs):.2f}",
            "permutes": sum(node["op"] == "permute" for node in model.source.blueprint["nodes"]),
        }
        if litert:
            row |= in_litert(model, tested, wanted, Path(folder))
    return row


def in_litert(model: Any, images: Any, wanted: Any, folder: Path) -> dict[str, object]:
    """The float file in LiteRT, against Keras's answers."""
    import numpy as np

    from paring.core.errors import ParingError
    from paring.core.target import ExportOptions
    from paring.targets.litert import LiteRT
    from paring.targets.litert.flatbuffer import operators

    try:
        path = LiteRT().export(model, folder / "model.tflite", ExportOptions(layout="NHWC"))  # as Keras takes it
    except ParingError as error:
        return {"litert": str(error).splitlines()[0]}
    found = LiteRT().open(path).run({model.inputs[0].name: images})["output"]
    return {
        "litert": "yes",
        "same top answer": f"{(found.argmax(1) == wanted.argmax(1)).sum()} of {TESTED}",
        "litert difference": f"{np.abs(found - wanted).max():.1e}",
        "operators": json.dumps(operators(path.read_bytes())),
    }


def main() -> None:
    """Runs all and writes `results/keras_applications.csv`."""
    from table import RESULTS, write

    parser = argparse.ArgumentParser()
    parser.add_argument("--only", help="one architecture; prints its row as JSON")
    parser.add_argument("--litert", action="store_true")
    parser.add_argument("--resume", action="store_true", help="keep the rows that the table has already")
    parser.add_argument("names", nargs="*", default=ARCHITECTURES)
    given = parser.parse_args()
    if given.only:
        print(json.dumps(measured(given.only, given.litert)))
        return
    rows: list[dict[str, object]] = []
    if given.resume:
        with (RESULTS / "keras_applications.csv").open(encoding="utf-8") as file:
            rows = [{k: v for k, v in row.items() if k not in CONDITIONS} for row in csv.DictReader(file)]
    for name in given.names:
        if any(row["architecture"] == name for row in rows):
            continue
        command = [sys.executable, __file__, "--only", name, *(["--litert"] if name in IN_LITERT else [])]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            rows.append(json.loads(done.stdout.splitlines()[-1]))
        else:
            last = (done.stderr.strip().splitlines() or [f"ended with {done.returncode}"])[-1]
            rows.append({"architecture": name, "loads": "no", "reason": last})
        columns = list(dict.fromkeys(key for row in rows for key in row))
        write("keras_applications", [{key: row.get(key, "") for key in columns} for row in rows], script="keras_door")


if __name__ == "__main__":
    main()
