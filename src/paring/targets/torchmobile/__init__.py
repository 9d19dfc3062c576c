"""PyTorch Mobile: `.ptl` files for the lite interpreter, on QNNPACK's kernels. ExecuTorch succeeds it."""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Literal

from paring.core.model import Model
from paring.core.target import FLOAT_ENDS, Contents, ExportOptions, Limits, Problem, Runner


class TorchMobileOptions(ExportOptions):
    """How a `.ptl` is made.

    Attributes:
        mode: how TorchScript is made of a float model: `trace` records one run, `script` compiles the Python code, with
            its branches and loops. A quantized model is a graph already, which is traced.
        optimize: runs `torch.utils.mobile_optimizer.optimize_for_mobile`, which needs a PyTorch that is built with
            XNNPACK, here and in the app.
    """

    mode: Literal["trace", "script"] = "trace"
    optimize: bool = False


class TorchMobile:
    """The target `torchmobile`. Contract: `paring.core.target.Target`."""

    name: ClassVar[str] = "torchmobile"
    suffix: ClassVar[str] = ".ptl"
    limits: ClassVar[Limits] = Limits(
        weights=frozenset({"float32", "int8"}),
        activations=frozenset({"float32", "int8"}),
        per_channel=True,
        dynamic=frozenset({("int8", "linear", 0)}),
    )
    Options: ClassVar[type[ExportOptions]] = TorchMobileOptions
    remarks: ClassVar[tuple[Problem, ...]] = (
        Problem(
            # https://docs.pytorch.org/docs/stable/mobile_optimizer.html; 2.1.0 is of October 2023, on Maven Central
            "PyTorch Mobile is no longer supported, and its last runtime for Android is 2.1.0: ExecuTorch succeeds it",
            "target torchmobile",
            "the target executorch",
            "note",
        ),
    )

    def check(self, model: Model) -> Sequence[Problem]:
        """Operators that are not PyTorch's own, inputs and outputs of types that the app's tensors lack."""
        from paring.targets.torchmobile.check import problems

        return problems(model)

    def export(self, model: Model, path: Path, options: ExportOptions = FLOAT_ENDS) -> Path:
        """Writes a `.ptl`; see `paring.targets.torchmobile.export.export`."""
        from paring.targets.torchmobile.export import export

        return export(model, path, options)

    def describe(self, artifact: Path) -> Contents:
        """Operators and tensors of a `.ptl`; see `paring.targets.torchmobile.contents.contents`."""
        from paring.targets.torchmobile.contents import contents

        return contents(artifact)

    def open(self, artifact: Path, threads: int = 1) -> Runner:
        """Loads a `.ptl` into the lite interpreter; see `paring.targets.torchmobile.runner.TorchMobileRunner`."""
        from paring.targets.torchmobile.runner import TorchMobileRunner

        return TorchMobileRunner(artifact, threads)
