"""MLPerf Tiny's networks on a microcontroller: paring's int8 file beside that of TensorFlow's converter.

The networks are built in Keras as the benchmark's training scripts build them, with weights drawn at random. `arena` is
the memory that TensorFlow Lite Micro needs. `reference` is the arena of the benchmark's own int8 files, measured alike;
TensorFlow's file is there with a Python that has tensorflow 2.21 (`--python`). `SQNR` is how near the quantized
network's answers are to the float one's, on samples that no one calibrated on, also with a scale for every channel.
"""

import argparse
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

os.environ["KERAS_BACKEND"] = "torch"

import keras
import numpy as np
import torch
from keras import layers
from keras_door import drawn
from table import write

from paring import load
from paring.core.model import Model
from paring.core.step import Context
from paring.core.task import Batch
from paring.measure.accuracy import sqnr
from paring.steps.quantize.static import Calibration, QuantizeStatic, StaticConfig
from paring.targets.litert.contents import operators
from paring.targets.micro import Micro, arena
from paring.testing.repairs import Images

SAMPLES = 64
TESTED = 256  # samples
WATCHED = ("PAD", "TRANSPOSE", "RESHAPE")
CONVERT = """
import sys
import numpy as np
import tensorflow as tf
model = tf.keras.models.load_model(sys.argv[1], compile=False)
samples = np.load(sys.argv[2])
converter = tf.lite.TFLiteConverter.from_keras_model(model)
converter.optimizations = [tf.lite.Optimize.DEFAULT]
converter.representative_dataset = lambda: ([one[None]] for one in samples)
converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
converter.inference_input_type = converter.inference_output_type = tf.int8
converter._experimental_disable_per_channel_quantization_for_dense_layers = sys.argv[4] == "tensor"
open(sys.argv[3], "wb").write(converter.convert())
"""
WHO = {"channel": "TensorFlow's converter", "tensor": "TensorFlow's converter, dense layers per tensor"}


def visual_wake_words() -> Any:
    """MobileNetV1 of width 0.25, 96×96, a person or none."""
    given = x = keras.Input((96, 96, 3))
    x = _normed(layers.Conv2D(8, 3, strides=2, padding="same")(x))
    for filters, stride in (
        (16, 1), (32, 2), (32, 1), (64, 2), (64, 1), (128, 2), *[(128, 1)] * 5, (256, 2), (256, 1),
    ):  # fmt: skip
        x = _normed(layers.DepthwiseConv2D(3, strides=stride, padding="same")(x))
        x = _normed(layers.Conv2D(filters, 1, padding="same")(x))
    return keras.Model(given, _classes(x, 2))


def image_classification() -> Any:
    """ResNet-8, 32×32, 10 classes."""
    given = keras.Input((32, 32, 3))
    x = _normed(layers.Conv2D(16, 3, padding="same")(given))
    for filters, stride in ((16, 1), (32, 2), (64, 2)):
        y = _normed(layers.Conv2D(filters, 3, strides=stride, padding="same")(x))
        y = layers.BatchNormalization()(layers.Conv2D(filters, 3, padding="same")(y))
        if stride > 1:
            x = layers.Conv2D(filters, 1, strides=stride, padding="same")(x)
        x = layers.Activation("relu")(layers.Add()([x, y]))
    return keras.Model(given, _classes(x, 10))


def anomaly_detection() -> Any:
    """The autoencoder of dense layers, 640 values."""
    given = x = keras.Input((640,))
    for units in (128, 128, 128, 128, 8, 128, 128, 128, 128):
        x = _normed(layers.Dense(units)(x))
    return keras.Model(given, layers.Dense(640)(x))


def keyword_spotting() -> Any:
    """DS-CNN, 49×10, 12 words."""
    given = keras.Input((49, 10, 1))
    x = _normed(layers.Conv2D(64, (10, 4), strides=2, padding="same")(given))
    for _ in range(4):
        x = _normed(layers.DepthwiseConv2D(3, padding="same")(x))
        x = _normed(layers.Conv2D(64, 1, padding="same")(x))
    return keras.Model(given, _classes(x, 12))


def streaming_wake_word() -> Any:
    """Separable convolutions over time, 30×40, 3 classes."""
    given = x = keras.Input((30, 1, 40))
    for filters, extent in ((128, 3), (64, 5), (64, 10), (32, 15)):
        x = layers.DepthwiseConv2D((extent, 1), use_bias=False)(x)
        x = _normed(layers.Conv2D(filters, 1, use_bias=False)(x))
    return keras.Model(given, layers.Dense(3)(layers.Flatten()(x)))


def _normed(x: Any) -> Any:
    return layers.Activation("relu")(layers.BatchNormalization()(x))


def _classes(x: Any, count: int) -> Any:
    pooled = layers.Flatten()(layers.AveragePooling2D(x.shape[1:3])(x))
    return layers.Dense(count, activation="softmax")(pooled)


# builder -> arena of the benchmark's own int8 file, bytes; 0 where it was not measured
NETWORKS: dict[Callable[[], Any], int] = {
    visual_wake_words: 103_680,
    image_classification: 55_984,
    anomaly_detection: 4_640,
    keyword_spotting: 0,
    streaming_wake_word: 16_640,
}


class Samples(Images):
    """Calibration samples of one input, whatever its name."""

    def __init__(self, name: str, samples: torch.Tensor) -> None:
        super().__init__(samples)
        self.input = name

    def batches(self, split: object, batch_size: int, **options: Any) -> Iterator[Batch]:
        """Batches of them."""
        for one in super().batches(split, batch_size, **options):
            yield Batch({self.input: one.inputs["image"]}, one.targets)


def quantized(model: Model, samples: torch.Tensor, folder: Path, granularity: Literal["auto", "channel"]) -> Model:
    """The model in int8."""
    context = Context(Samples(model.inputs[0].name, samples), Micro.limits, 0, model, folder)
    config = StaticConfig(granularity=granularity, calibration=Calibration(samples=SAMPLES))
    return QuantizeStatic().apply(model, config, context)


def converted(saved: Path, samples: np.ndarray, made: Path, python: str, dense: str) -> Path:
    """TensorFlow's int8 file of a Keras file."""
    given = made.with_suffix(".npy")
    np.save(given, samples)
    environment = {key: value for key, value in os.environ.items() if key not in ("KERAS_BACKEND", "PYTHONPATH")}
    command = [python, "-c", CONVERT, str(saved), str(given), str(made), dense]
    subprocess.run(command, check=True, capture_output=True, env=environment)
    return made


def rows(name: str, built: Any, reference: int, folder: Path, python: str | None) -> Iterator[dict[str, object]]:
    """Every figure of one network."""
    saved = folder / f"{name}.keras"
    drawn(built).save(saved)
    shape = built.input_shape[1:]
    drawings = np.random.default_rng(1).normal(size=(SAMPLES + TESTED, *shape)).astype("float32")
    samples = drawings[:SAMPLES]
    model = load.open(f"keras:{saved}")
    first = torch.from_numpy(drawings if len(shape) < 3 else np.moveaxis(drawings, -1, 1).copy())
    shown, unseen = first[:SAMPLES], {model.inputs[0].name: first[SAMPLES:]}
    made = quantized(model, shown, folder, "auto")
    (wanted,) = model(unseen).values()
    for who, one in (("paring", made), ("paring, granularity: channel", quantized(model, shown, folder, "channel"))):
        (found,) = one(unseen).values()
        near = f"{sqnr(wanted.numpy(), found.numpy()):.2f}"
        yield {"network": name, "who": who, "metric": "SQNR", "value": near, "unit": "dB"}
    files = {"paring": Micro().export(made, folder / f"{name}.micro.tflite")}
    if python is not None:
        for dense, who in WHO.items():
            files[who] = converted(saved, samples, folder / f"{name}-{dense}.tflite", python, dense)
    if reference:
        yield {"network": name, "who": "reference", "metric": "arena", "value": reference, "unit": "bytes"}
    for who, file in files.items():
        counted = operators(file.read_bytes())
        for metric, value in (("arena", arena.size(file)), ("size", file.stat().st_size)):
            yield {"network": name, "who": who, "metric": metric, "value": value, "unit": "bytes"}
        counts = {"operators": sum(counted.values()), **{f"operators {kind}": counted.get(kind, 0) for kind in WATCHED}}
        for metric, value in counts.items():
            yield {"network": name, "who": who, "metric": metric, "value": value, "unit": "1"}


def main() -> None:
    """Writes `results/micro_memory.csv`; rows of TensorFlow's files stay where none are made."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--python", help="a Python that has tensorflow")
    parser.add_argument("--keep", type=Path, help="a folder where the files stay")
    given = parser.parse_args()
    found: list[dict[str, object]] = []
    with TemporaryDirectory() as temporary:
        folder = given.keep or Path(temporary)
        folder.mkdir(exist_ok=True)
        for build, reference in NETWORKS.items():
            keras.backend.clear_session()
            found += rows(build.__name__, build(), reference, folder, given.python)
    write("micro_memory", found, keep="who")


if __name__ == "__main__":
    main()
