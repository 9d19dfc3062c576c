"""ONNX Runtime: `.onnx` files for desktops, servers, single-board computers and phones."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from paring.core.model import Model
from paring.core.target import FLOAT_ENDS, Array, Contents, ExportOptions, Limits, Problem, Runner


class ONNXRuntime:
    """The target `onnxruntime`. Contract: `paring.core.target.Target`."""

    name: ClassVar[str] = "onnxruntime"
    suffix: ClassVar[str] = ".onnx"
    limits: ClassVar[Limits] = Limits(
        weights=frozenset({"float32", "int8"}), activations=frozenset({"float32", "int8"}), per_channel=True
    )
    Options: ClassVar[type[ExportOptions]] = ExportOptions

    def check(self, model: Model) -> Sequence[Problem]:
        """Operators without a translation, inputs and outputs of types that the file cannot hold."""
        from paring.targets.onnxruntime.check import problems

        return problems(model)

    def export(self, model: Model, path: Path, options: ExportOptions = FLOAT_ENDS) -> Path:
        """Writes an `.onnx`; see `paring.targets.onnxruntime.export.export`."""
        from paring.targets.onnxruntime.export import export

        return export(model, path, options)

    def describe(self, artifact: Path) -> Contents:
        """Operators and tensors of an `.onnx`; see `paring.targets.onnxruntime.file.contents`."""
        from paring.targets.onnxruntime import file

        return file.contents(artifact)

    def open(self, artifact: Path, threads: int = 1) -> Runner:
        """Loads an `.onnx` into ONNX Runtime; see `paring.targets.onnxruntime.runner.ONNXRuntimeRunner`."""
        from paring.targets.onnxruntime.runner import ONNXRuntimeRunner

        return ONNXRuntimeRunner(artifact, threads)

    def trace(self, artifact: Path, model: Model, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """What each quantized layer gives; see `paring.targets.onnxruntime.trace.trace`."""
        from paring.targets.onnxruntime.trace import trace

        return trace(artifact, model, inputs)
