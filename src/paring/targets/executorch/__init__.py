"""ExecuTorch: `.pte` files for phones and single-board computers, on XNNPACK's kernels."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from paring.core.errors import ParingError
from paring.core.model import Model
from paring.core.target import FLOAT_ENDS, Contents, ExportOptions, Limits, Problem, Runner

if TYPE_CHECKING:
    from torch.export import ExportedProgram


class ExecuTorch:
    """The target `executorch`. Contract: `paring.core.target.Target`."""

    name: ClassVar[str] = "executorch"
    suffix: ClassVar[str] = ".pte"
    limits: ClassVar[Limits] = Limits(
        weights=frozenset({"float32", "int8"}), activations=frozenset({"float32", "int8"}), per_channel=True
    )
    Options: ClassVar[type[ExportOptions]] = ExportOptions

    def check(self, model: Model) -> Sequence[Problem]:
        """Operators without a kernel, inputs and outputs of types that the file cannot hold."""
        from paring.targets.executorch.check import problems

        return problems(model)

    def advise(self, model: Model, program: "ExportedProgram") -> Sequence[Problem]:
        """Operators that XNNPACK does not take; takes as long as an export, as only lowering tells."""
        from paring.targets.executorch.check import outside_xnnpack

        return outside_xnnpack(model)

    def export(self, model: Model, path: Path, options: ExportOptions = FLOAT_ENDS) -> Path:
        """Writes a `.pte`; see `paring.targets.executorch.export.export`."""
        from paring.targets.executorch.export import export

        return export(model, path, options)

    def describe(self, artifact: Path) -> Contents:
        """Operators and tensors of a `.pte`, those inside XNNPACK's graphs too.

        Raises:
            ParingError: no such file, or none of ExecuTorch's.
        """
        from paring.targets.executorch import program

        try:
            return program.contents(artifact.read_bytes())
        except Exception as error:  # a damaged flatbuffer fails in any way
            raise ParingError("cannot be read as a .pte file", str(artifact), "name a file of ExecuTorch's") from error

    def open(self, artifact: Path, threads: int = 1) -> Runner:
        """Loads a `.pte` into ExecuTorch; see `paring.targets.executorch.runner.ExecuTorchRunner`."""
        from paring.targets.executorch.runner import ExecuTorchRunner

        return ExecuTorchRunner(artifact, threads)
