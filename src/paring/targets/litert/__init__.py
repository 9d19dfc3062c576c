"""LiteRT (TensorFlow Lite): `.tflite` files for phones, single-board computers and microcontrollers."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from paring.core.model import Model
from paring.core.target import FLOAT_ENDS, Array, Contents, ExportOptions, Limits, Problem, Runner


class LiteRT:
    """The target `litert`. Contract: `paring.core.target.Target`."""

    name: ClassVar[str] = "litert"
    suffix: ClassVar[str] = ".tflite"
    limits: ClassVar[Limits] = Limits(
        weights=frozenset({"float32", "int8"}), activations=frozenset({"float32", "int8"}), per_channel=True
    )

    def check(self, model: Model) -> Sequence[Problem]:
        """Operators without a lowering, inputs and outputs of types that the file cannot hold."""
        from paring.targets.litert.check import problems

        return problems(model)

    def export(self, model: Model, path: Path, options: ExportOptions = FLOAT_ENDS) -> Path:
        """Writes a `.tflite`; see `paring.targets.litert.export.export`."""
        from paring.targets.litert.export import export

        return export(model, path, options)

    def describe(self, artifact: Path) -> Contents:
        """Operators and tensors of a `.tflite`."""
        from paring.targets.litert import flatbuffer

        return flatbuffer.contents(artifact.read_bytes())

    def open(self, artifact: Path, threads: int = 1) -> Runner:
        """Loads a `.tflite` into ai-edge-litert; see `paring.targets.litert.runner.LiteRTRunner`."""
        from paring.targets.litert.runner import LiteRTRunner

        return LiteRTRunner(artifact, threads)

    def trace(self, artifact: Path, model: Model, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """What each quantized layer gives; see `paring.targets.litert.trace.trace`."""
        from paring.targets.litert.trace import trace

        return trace(artifact, model, inputs)
