"""Microcontrollers and Ethos-U: memory in TensorFlow Lite Micro, and what Vela makes of MobileNetV2.

Weights are drawn at random, and ranges come of random images, but for the checkpoint: neither changes what is counted
here. Vela's figures are its own estimates, by a model of the NPU. `bit-equal` is the share of random int8 images that
TensorFlow Lite Micro answers bit for bit as LiteRT's reference kernels do.
"""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from table import write

from paring import data, load
from paring.core.model import Model
from paring.core.step import Context
from paring.steps.quantize.static import Calibration, QuantizeStatic, StaticConfig
from paring.targets.edgetpu import EdgeTPU
from paring.targets.ethosu import EthosU, EthosUOptions
from paring.targets.int8 import INT8_ALONE
from paring.targets.micro import Micro
from paring.testing.repairs import Images

CHECKPOINT = Path(__file__).parents[1] / "checkpoints" / "mobilenet_v2-w0.5-fashion_mnist.safetensors"
IMAGES = 20
SMALL = ("resnet8, 32×32", "ds_cnn, 49×10", "mobilenet_v2 0.5, 28×28, checkpoint")
ACCELERATORS = ("ethos-u55-64", "ethos-u55-128", "ethos-u55-256", "ethos-u65-256", "ethos-u85-256")


def networks() -> Iterator[tuple[str, Model]]:
    """The networks, one after the other."""
    yield SMALL[0], load.open("zoo:resnet8", shape=(3, 32, 32))
    yield SMALL[1], load.open("zoo:ds_cnn", shape=(1, 49, 10))
    yield SMALL[2], load.open(str(CHECKPOINT), task=data.open("fashion-mnist"))
    for width in (0.5, 1.0):
        yield f"mobilenet_v2 {width}, 224×224", load.open(f"zoo:mobilenet_v2(width={width})", shape=(3, 224, 224))


def quantized(model: Model, folder: Path) -> Model:
    """The model in int8, with the ranges of two random images."""
    images = torch.randn(2, *model.inputs[0].sized(1)[1:], generator=torch.Generator().manual_seed(0))
    context = Context(Images(images), INT8_ALONE, 0, model, folder)
    config = StaticConfig(calibration=Calibration(samples=2, weights="minmax"), ladder=None)
    return QuantizeStatic().apply(model, config, context)


def equal(file: Path, name: str) -> float:
    """Share of random images, %, that both interpreters answer alike."""
    runner = Micro().open(file)
    reference = Interpreter(str(file), experimental_op_resolver_type=OpResolverType.BUILTIN_REF)
    reference.allocate_tensors()
    (given,), (asked,) = reference.get_input_details(), reference.get_output_details()
    chance, alike = np.random.default_rng(0), 0
    for _ in range(IMAGES):
        codes = chance.integers(-128, 128, given["shape"], dtype=np.int8)
        runner._put({name: codes})  # type: ignore[attr-defined]
        runner.invoke()
        reference.set_tensor(given["index"], codes)
        reference.invoke()
        (answer,) = runner._taken().values()  # type: ignore[attr-defined]
        alike += bool(np.array_equal(answer, reference.get_tensor(asked["index"])))
    return 100 * alike / IMAGES


def rows(name: str, model: Model, folder: Path) -> Iterator[dict[str, object]]:
    """Every figure of one network."""
    made = quantized(model, folder)
    if name in SMALL:
        file = Micro().export(made, folder / "model.micro.tflite")
        for one in Micro().estimate(file, name):
            yield {"network": name, "on": one.device, "metric": one.metric, "value": one.value, "unit": one.unit}
        value = equal(file, model.inputs[0].name)
        yield {"network": name, "on": "TensorFlow Lite Micro", "metric": "bit-equal", "value": value, "unit": "%"}
    for one in EdgeTPU().estimate(EdgeTPU().export(made, folder / "model.edgetpu.tflite"), name):
        yield {
            "network": name,
            "on": f"Edge TPU, {one.source}",
            "metric": one.metric,
            "value": one.value,
            "unit": one.unit,
        }
    for accelerator in ACCELERATORS:
        options = EthosUOptions.model_validate({"accelerator": accelerator})
        file = EthosU().export(made, folder / "model.vela.tflite", options)
        for one in EthosU().estimate(file, name):
            yield {"network": name, "on": one.device, "metric": one.metric, "value": one.value, "unit": one.unit}


def main() -> None:
    """Writes results/tiny_targets.csv."""
    found = []
    for name, model in networks():
        with TemporaryDirectory() as folder:
            found += list(rows(name, model, Path(folder)))
    write("tiny_targets", found)


if __name__ == "__main__":
    main()
