"""OpenVINO: models in its intermediate representation, for Intel's and ARM's processors."""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from paring.core.model import Model
from paring.core.target import FLOAT_ENDS, Contents, ExportOptions, Limits, Problem, Runner

_KINDS = ("linear", "conv", "depthwise", "grouped", "transposed", "embedding")


class OpenVINO:
    """The target `openvino`. Contract: `paring.core.target.Target`."""

    name: ClassVar[str] = "openvino"
    suffix: ClassVar[str] = ".openvino"
    limits: ClassVar[Limits] = Limits(
        weights=frozenset({"float32", "int8"}),
        activations=frozenset({"float32", "int8"}),
        per_channel=True,
        stored=frozenset((dtype, kind, 0) for dtype in ("int8", "float16") for kind in _KINDS),
    )
    Options: ClassVar[type[ExportOptions]] = ExportOptions

    def check(self, model: Model) -> Sequence[Problem]:
        """Operators that ONNX or OpenVINO lacks, inputs and outputs of types that the file cannot hold."""
        from paring.targets.openvino.check import problems

        return problems(model)

    def export(self, model: Model, path: Path, options: ExportOptions = FLOAT_ENDS) -> Path:
        """Writes a folder of `model.xml` and `model.bin`; see `paring.targets.openvino.export.export`."""
        from paring.targets.openvino.export import export

        return export(model, path, options)

    def describe(self, artifact: Path) -> Contents:
        """Operators and tensors of the files; see `paring.targets.openvino.contents.contents`."""
        from paring.targets.openvino.contents import contents

        return contents(artifact)

    def open(self, artifact: Path, threads: int = 1) -> Runner:
        """Loads the files into OpenVINO; see `paring.targets.openvino.runner.OpenVINORunner`."""
        from paring.targets.openvino.runner import OpenVINORunner

        return OpenVINORunner(artifact, threads)
