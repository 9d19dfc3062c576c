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
TESTED = 8  # images that LiteRT answers
CONDITIONS = ("cpu", "cores", "python", "versions", "date", "script")
ARCHITECTURES = (
    "MobileNet", "MobileNetV2", "MobileNetV3Small", "MobileNetV3Large", "EfficientNetB0", "EfficientNetB1",
    "EfficientNetB2", "EfficientNetB3", "EfficientNetB4", "EfficientNetB5", "EfficientNetB6", "EfficientNetB7",
    "EfficientNetV2B0", "EfficientNetV2B1", "EfficientNetV2B2", "EfficientNetV2B3", "EfficientNetV2S",
    "EfficientNetV2M", "EfficientNetV2L", "ResNet50", "ResNet101", "ResNet152", "ResNet50V2", "ResNet101V2",
    "ResNet152V2", "DenseNet121", "DenseNet169", "DenseNet201", "InceptionV3", "InceptionResNetV2", "Xception",
    "NASNetMobile", "NASNetLarge", "ConvNeXtTiny", "ConvNeXtSmall", "ConvNeXtBase", "VGG16", "VGG19", "ConvNeXtLarge",
    "ConvNeXtXLarge",
)  # fmt: skip
IN_LITERT = ("MobileNet", "MobileNetV2", "MobileNetV3Small", "EfficientNetB0", "EfficientNetV2B0", "ResNet50",
             "DenseNet121", "InceptionV3", "Xception", "NASNetMobile", "ConvNeXtTiny", "VGG16")  # fmt: skip


def randomized(name: str, side: int | None = None) -> Any:
    """The architecture, with weights of unit gain and batch-norm statistics away from zero and one.

    Args:
        name: in keras.applications.
        side: of its pictures; its own where it is left out.
    """
    import keras

    size = {} if side is None else {"input_shape": (side, side, 3)}
    return drawn(getattr(keras.applications, name)(weights=None, classifier_activation=None, **size))


def drawn(model: Any) -> Any:
    """A Keras model with its weights drawn: of unit gain, batch-norm statistics away from zero and one, in place."""
    import numpy as np

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


def measured(name: str) -> dict[str, object]:
    """Loads one architecture; runs in a process of its own."""
    import keras
    import numpy as np
    import torch

    from paring import load
    from paring.core.errors import ParingError
    from paring.core.model import TensorSpec
    from paring.load import prove
    from paring.measure.answers import of_model

    with TemporaryDirectory() as folder:
        path, side = saved(name, Path(folder))
        spec = TensorSpec("image", ("batch", side, side, 3))
        (images,) = prove.samples([spec])  # as many as the proof runs on
        tested = np.random.default_rng(1).normal(size=(2, 3, side, side)).astype("float32")
        ours, theirs = [], []
        for _ in range(REPEATS):  # in turn
            clock = Clock()
            original = keras.saving.load_model(path, compile=False)
            with torch.no_grad():
                original(images, training=False)
                theirs.append(clock.read())
                wanted = original(np.moveaxis(tested, 1, -1), training=False).numpy()
            row: dict[str, object] = {"architecture": name, "parameters": original.count_params(), "pixels": side}
            del original
            gc.collect()
            clock = Clock()
            try:
                model = load.open(f"keras:{path}", shape=(3, side, side))
            except ParingError as error:
                return row | {"loads": "no", "reason": str(error).splitlines()[0].replace(folder, "")}
            ours.append(clock.read())
            gc.collect()
        found = of_model(model)({model.inputs[0].name: tested})["output"]
    wall, cpu = (min(one[i] for one in ours) for i in (0, 1))
    their_wall, their_cpu = (min(one[i] for one in theirs) for i in (0, 1))
    return row | {
        "loads": "yes",
        "largest difference": f"{np.abs(found - wanted).max():.1e}",
        "relative": f"{prove.difference(found, wanted):.1e}",
        "largest answer": f"{np.abs(wanted).max():.2g}",
        "permutes": sum(node["op"] == "permute" for node in model.source.blueprint["nodes"]),
        "load, CPU": f"{cpu:.2f} s",
        "keras load + forward, CPU": f"{their_cpu:.2f} s",
        "CPU ratio": f"{cpu / their_cpu:.2f}",
        "load, wall": f"{wall:.2f} s",
        "wall ratio": f"{wall / their_wall:.2f}",
        "threads": torch.get_num_threads(),
    }


def exported(name: str) -> dict[str, object]:
    """One architecture's float file in LiteRT, against Keras's answers."""
    import keras
    import numpy as np
    import torch

    from paring import load
    from paring.core.errors import ParingError
    from paring.core.target import ExportOptions
    from paring.targets.litert import LiteRT
    from paring.targets.litert.contents import operators

    with TemporaryDirectory() as folder:
        path, side = saved(name, Path(folder))
        images = np.random.default_rng(1).normal(size=(TESTED, side, side, 3)).astype("float32")
        with torch.no_grad():
            wanted = keras.saving.load_model(path, compile=False)(images, training=False).numpy()
        model = load.open(f"keras:{path}", shape=(3, side, side))
        try:
            artifact = LiteRT().export(model, Path(folder) / "model.tflite", ExportOptions(layout="NHWC"))
        except ParingError as error:
            return {"architecture": name, "exported": "no", "reason": str(error).splitlines()[0]}
        found = LiteRT().open(artifact).run({model.inputs[0].name: images.transpose(0, 3, 1, 2)})["output"]
        return {
            "architecture": name,
            "exported": "yes",
            "same top answer": f"{(found.argmax(1) == wanted.argmax(1)).sum()} of {TESTED}",
            "largest difference": f"{np.abs(found - wanted).max():.1e}",
            "largest answer": f"{np.abs(wanted).max():.2g}",
            "operators": json.dumps(operators(artifact.read_bytes())),
        }


def saved(name: str, folder: Path) -> tuple[Path, int]:
    """The architecture as a file, and the side of its pictures."""
    original = randomized(name)
    original.save(folder / "model.keras")
    return folder / "model.keras", (original.input_shape[1] if original.input_shape else None) or 224


class Clock:
    """Wall and CPU seconds since it was made; the latter tell more on a machine that is shared."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def read(self) -> tuple[float, float]:
        """(wall, CPU)."""
        return time.perf_counter() - self._wall, time.process_time() - self._cpu


def main() -> None:
    """Writes `results/keras_applications.csv`, or with `--litert` `results/keras_applications_litert.csv`."""
    from table import RESULTS, write

    parser = argparse.ArgumentParser()
    parser.add_argument("--only", help="one architecture; prints its row as JSON")
    parser.add_argument("--litert", action="store_true", help="export a representative set")
    parser.add_argument("--resume", action="store_true", help="keep the rows that the table has already")
    parser.add_argument("names", nargs="*")
    given = parser.parse_args()
    if given.only:
        print(json.dumps((exported if given.litert else measured)(given.only)))
        return
    table = "keras_applications_litert" if given.litert else "keras_applications"
    rows: list[dict[str, object]] = []
    if given.resume and (RESULTS / f"{table}.csv").is_file():
        with (RESULTS / f"{table}.csv").open(encoding="utf-8") as file:
            rows = [{k: v for k, v in row.items() if k not in CONDITIONS} for row in csv.DictReader(file)]
    for name in given.names or (IN_LITERT if given.litert else ARCHITECTURES):
        if any(row["architecture"] == name for row in rows):
            continue
        command = [sys.executable, __file__, "--only", name, *(["--litert"] if given.litert else [])]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            rows.append(json.loads(done.stdout.splitlines()[-1]))
        else:
            last = (done.stderr.strip().splitlines() or [f"ended with {done.returncode}"])[-1]
            rows.append({"architecture": name, "reason": last})
        columns = list(dict.fromkeys(key for row in rows for key in row))
        write(table, [{key: row.get(key, "") for key in columns} for row in rows], script="keras_door")


if __name__ == "__main__":
    main()
