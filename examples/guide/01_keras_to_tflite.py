"""A trained Keras MobileNetV2 becomes an int8 file for LiteRT, calibrated on samples.

With TensorFlow one hands the Keras model to the converter, asks for its default optimizations, gives a generator of
representative inputs, restricts the operators to those of int8, and sets the types of input and output. Without
TensorFlow `plain_form` takes the same way by hand: Keras on its torch backend, an exported program, observers on a
hundred samples, int8 weights per channel, litert-torch.

The network has three of MobileNetV2's inverted residual blocks, for images of 8×8 pixels. `--train` makes its
checkpoint.
"""

import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

os.environ["KERAS_BACKEND"] = "torch"

import keras
import numpy as np
import torch
from keras import layers
from shared import ROOT, Outcome, accuracy, digits, result, show

from paring.core.quiet import quiet

MODEL = ROOT / "checkpoints" / "keras-mobilenet_v2-digits.keras"
BLOCKS = [(1, 16, 1), (4, 24, 2), (4, 24, 1)]  # expansion, channels, stride


def build() -> keras.Model:
    """MobileNetV2 in small (Sandler et al. 2018, arXiv:1801.04381, table 2)."""

    def normed(x: object, activate: bool = True) -> object:
        x = layers.BatchNormalization(momentum=0.9)(x)
        return layers.ReLU(6.0)(x) if activate else x

    image = keras.Input((8, 8, 1))
    x = normed(layers.Conv2D(16, 3, padding="same", use_bias=False)(image))
    for expansion, channels, stride in BLOCKS:
        y = normed(layers.Conv2D(expansion * x.shape[-1], 1, use_bias=False)(x))
        y = normed(layers.DepthwiseConv2D(3, strides=stride, padding="same", use_bias=False)(y))
        y = normed(layers.Conv2D(channels, 1, use_bias=False)(y), activate=False)
        x = layers.Add()([x, y]) if stride == 1 and x.shape[-1] == channels else y
    x = layers.GlobalAveragePooling2D()(normed(layers.Conv2D(96, 1, use_bias=False)(x)))
    return keras.Model(image, layers.Dense(10, name="classifier")(x))


def train(path: Path = MODEL, epochs: int = 20) -> None:
    """Writes the checkpoint."""
    keras.utils.set_random_seed(0)
    images, labels = digits("train")
    network = build()
    rate = keras.optimizers.schedules.CosineDecay(0.004, epochs * len(labels) // 64)
    network.compile(keras.optimizers.Adam(rate), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    network.fit(images.permute(0, 2, 3, 1).numpy(), labels.numpy(), batch_size=64, epochs=epochs, verbose=2)
    bare = build()  # without the optimizer
    bare.set_weights(network.get_weights())
    bare.save(path)


def plain_form(folder: Path) -> Outcome:
    """Every stage by hand."""
    with quiet():
        import litert_torch
        from ai_edge_litert.interpreter import Interpreter
        from litert_torch.quantize.pt2e_quantizer import PT2EQuantizer, get_symmetric_quantization_config
        from litert_torch.quantize.quant_config import QuantConfig
        from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    network = keras.models.load_model(MODEL).eval()
    images, labels = digits("test")
    images = images.permute(0, 2, 3, 1).contiguous()
    before = accuracy(network, images, labels)
    with quiet():
        quantizer = PT2EQuantizer().set_global(get_symmetric_quantization_config(is_per_channel=True, is_dynamic=False))
        program = prepare_pt2e(torch.export.export(network, (images[:1],)).module(), quantizer)
        for image in digits("calibration")[0].permute(0, 2, 3, 1)[:100]:
            program(image[None].contiguous())
        program = convert_pt2e(program, fold_quantize=False)
        converted = litert_torch.convert(program, (images[:1],), quant_config=QuantConfig(pt2e_quantizer=quantizer))
        file = folder / "plain.tflite"
        file.write_bytes(converted.model_content())

        interpreter = Interpreter(str(file))
        interpreter.allocate_tensors()
    taken, given = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    scale, zero = taken["quantization"]
    right = 0
    for image, label in zip(images.numpy(), labels.tolist(), strict=True):
        fed = image if taken["dtype"] == np.float32 else np.clip(np.round(image / scale) + zero, -128, 127)
        interpreter.set_tensor(taken["index"], fed[None].astype(taken["dtype"]))
        interpreter.invoke()
        right += int(interpreter.get_tensor(given["index"]).argmax() == label)
    return Outcome(100 * right / len(labels), file.stat().st_size, f"{before:.1f} % before")


def paring_form(folder: Path) -> Outcome:
    """A recipe."""
    recipe = {
        "model": f"keras:{MODEL}",
        "data": "digits",
        "targets": [{"litert": {"io": "int8", "layout": "NHWC"}}],
        "steps": [{"quantize.static": {"calibration": {"samples": 100}}}],
    }
    return result(recipe, folder / "run")


def main(folder: Path) -> dict[str, Outcome]:
    """Both forms."""
    return show("Keras MobileNetV2 to int8", plain=plain_form(folder), paring=paring_form(folder))


if __name__ == "__main__":
    if sys.argv[1:] == ["--train"]:
        train()
    else:
        with TemporaryDirectory() as temporary:
            main(Path(sys.argv[1] if len(sys.argv) > 1 else temporary))
