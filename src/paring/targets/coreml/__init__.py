"""Core ML: `.mlpackage` folders (ML Programs) for iPhones, iPads and Macs."""

import platform
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Literal, get_args

from paring.core.codes import Stored
from paring.core.errors import ParingError
from paring.core.model import Model
from paring.core.target import FLOAT_ENDS, Contents, ExportOptions, Limits, Problem, Runner

_KINDS = ("linear", "conv", "depthwise", "grouped", "transposed", "embedding")
_BLOCKS = (16, 32, 64, 128, 256)


class CoreMLOptions(ExportOptions):
    """How a package is made.

    Attributes:
        precision: what it computes in; where left out, `float16` for a model of `quantize.float16`, else `float32`.
        minimum_deployment_target: the oldest system that loads it; where left out, `iOS17`, or `iOS18` where weights
            are int4 or have a scale for each group. macOS 14 and 15 are as old.
    """

    io: Literal["float32"] = "float32"
    layout: Literal["NCHW"] = "NCHW"
    precision: Literal["float32", "float16"] | None = None
    minimum_deployment_target: Literal["iOS17", "iOS18"] | None = None


class CoreML:
    """The target `coreml`. Contract: `paring.core.target.Target`."""

    name: ClassVar[str] = "coreml"
    suffix: ClassVar[str] = ".mlpackage"
    limits: ClassVar[Limits] = Limits(
        weights=frozenset({"float32", "int8", "int4"}),
        activations=frozenset({"float32", "int8"}),
        per_channel=True,
        stored=frozenset((dtype, kind, 0) for dtype in get_args(Stored) for kind in _KINDS)
        | frozenset((dtype, "linear", block) for dtype in ("int8", "int4") for block in _BLOCKS),
    )
    Options: ClassVar[type[ExportOptions]] = CoreMLOptions

    def check(self, model: Model) -> Sequence[Problem]:
        """Operators that coremltools cannot translate, inputs and outputs that a package cannot have."""
        from paring.targets.coreml.check import problems

        return problems(model)

    def export(self, model: Model, path: Path, options: ExportOptions = FLOAT_ENDS) -> Path:
        """Writes an `.mlpackage`; see `paring.targets.coreml.export.export`."""
        from paring.targets.coreml.export import export

        return export(model, path, options)

    def describe(self, artifact: Path) -> Contents:
        """Operators and tensors of an `.mlpackage`."""
        from paring.targets.coreml.package import contents

        return contents(artifact)

    def why_not_run(self) -> str | None:
        """Core ML is a part of Apple's systems."""
        return None if platform.system() == "Darwin" else "Core ML runs on Apple's systems only"

    def why_not_timed(self) -> str | None:
        """A Mac's answers count, its times do not."""
        return self.why_not_run() or "a Mac's time and memory say nothing of a phone's"

    def open(self, artifact: Path, threads: int = 1) -> Runner:
        """Loads a package into Core ML, on a Mac; see `paring.targets.coreml.runner.CoreMLRunner`.

        Raises:
            ParingError: this is no Mac, or Core ML refuses the package.
        """
        if (reason := self.why_not_run()) is not None:
            raise ParingError(
                reason, str(artifact), "run it on a Mac or on the phone; `paring inspect` tells what it holds"
            )
        from paring.targets.coreml.runner import CoreMLRunner

        return CoreMLRunner(artifact, threads)
