"""ONNX Runtime: the checkpoint of MobileNetV2 in float and in int8, beside ONNX Runtime's own quantizer.

Latency is that of one sample in one thread, files in turn; every file has float inputs and outputs. The peer is
`onnxruntime.quantization.quantize_static` (QDQ, uint8 activations, int8 weights per channel) of the same float file
with the same calibration images, after its own preparation. Accuracy and agreement are over the test split.
"""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from onnxruntime import quantization
from onnxruntime.quantization.shape_inference import quant_pre_process
from table import write

from paring import data, load
from paring.core.quiet import quiet
from paring.core.step import Context
from paring.core.target import Array, Runner
from paring.core.task import Task
from paring.measure.answers import of_model
from paring.measure.latency import interleaved
from paring.steps.quantize.static import Calibration, QuantizeStatic, StaticConfig
from paring.targets.litert import LiteRT
from paring.targets.onnxruntime import ONNXRuntime

CHECKPOINT = Path(__file__).parents[1] / "checkpoints" / "mobilenet_v2-w0.5-fashion_mnist.safetensors"
SAMPLES, SECONDS = 256, 20.0


class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]  # untyped
    """The calibration images, one at a time."""

    def __init__(self, task: Task) -> None:
        self._feeds = self._each(task)

    def get_next(self) -> dict[str, Array] | None:
        """The next image; None after the last."""
        return next(self._feeds, None)

    @staticmethod
    def _each(task: Task) -> Iterator[dict[str, Array]]:
        for batch in task.batches("calibration", 1, limit=SAMPLES):
            yield {name: tensor.numpy() for name, tensor in batch.inputs.items()}


def answers(runner: Runner, task: Task) -> Array:
    """The classes that a file gives for the test split."""
    found = [
        runner.run({name: tensor.numpy() for name, tensor in batch.inputs.items()})["output"].argmax(1)
        for batch in task.batches("test", 100)
    ]
    return np.concatenate(found)


def main() -> None:
    """Writes results/onnx_runtime.csv."""
    task = data.open("fashion-mnist")
    model = load.open(str(CHECKPOINT))
    targets = np.concatenate([batch.targets.numpy() for batch in task.batches("test", 100)])
    with TemporaryDirectory() as name:
        folder = Path(name)
        context = Context(task, ONNXRuntime.limits, 0, model, folder)
        config = StaticConfig(calibration=Calibration(method="mse", samples=SAMPLES))
        quantized = QuantizeStatic().apply(model, config, context)
        ours = ONNXRuntime()
        paths = {
            "float": ours.export(model, folder / "float.onnx"),
            "paring int8": ours.export(quantized, folder / "int8.onnx"),
            "peer int8": folder / "peer.onnx",
        }
        with quiet():
            quant_pre_process(str(paths["float"]), str(folder / "prepared.onnx"))
            quantization.quantize_static(
                str(folder / "prepared.onnx"), str(paths["peer int8"]), Reader(task),
                quant_format=quantization.QuantFormat.QDQ, per_channel=True,
                activation_type=quantization.QuantType.QUInt8, weight_type=quantization.QuantType.QInt8,
            )  # fmt: skip
        runners: dict[str, Runner] = {name: ours.open(path) for name, path in paths.items()}
        timed = interleaved(runners, seconds=SECONDS)
        pair = interleaved({name: runners[name] for name in ("peer int8", "paring int8")}, seconds=SECONDS)
        rows: list[dict[str, Any]] = []

        def row(who: str, metric: str, value: float, unit: str, spread: float | str = "") -> None:
            rows.append({"who": who, "metric": metric, "value": value, "unit": unit, "spread": spread})

        for who, timing in timed.items():
            row(who, "latency", round(timing.median, 5), "ms", round(timing.spread, 5))
            row(who, "latency ratio to float", round(timing.ratio, 4), "1", round(timing.ratio_spread, 4))
            row(who, "size", paths[who].stat().st_size, "B")
            contents = ours.describe(paths[who])
            row(who, "operators on integers", sum(contents.quantized.values()), "1")
            row(who, "operators in float", len(contents.in_float), "1")
        ratio = pair["paring int8"]
        row("paring int8", "latency ratio to the peer", round(ratio.ratio, 4), "1", round(ratio.ratio_spread, 4))
        lite = LiteRT()
        runners["LiteRT int8"] = lite.open(lite.export(quantized, folder / "int8.tflite"))
        classes = {who: answers(runner, task) for who, runner in runners.items()}
        torch_ = of_model(quantized)
        classes["PyTorch int8"] = np.concatenate(
            [
                torch_({name: tensor.numpy() for name, tensor in batch.inputs.items()})["output"].argmax(1)
                for batch in task.batches("test", 100)
            ]
        )
        for who, found in classes.items():
            row(who, "accuracy", round(100 * float((found == targets).mean()), 2), "%")
            row(who, "agreement with paring int8", round(100 * float((found == classes["paring int8"]).mean()), 2), "%")
        write("onnx_runtime", rows)


if __name__ == "__main__":
    main()
