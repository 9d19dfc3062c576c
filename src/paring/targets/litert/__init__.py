"""LiteRT (TensorFlow Lite): `.tflite` files for phones, single-board computers and microcontrollers."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from paring.core.model import Model
from paring.core.target import FLOAT_ENDS, Array, Contents, ExportOptions, Limits, Problem, Runner

if TYPE_CHECKING:
    from torch.export import ExportedProgram

_KINDS = ("linear", "conv", "depthwise", "grouped", "transposed", "embedding")


class LiteRT:
    """The target `litert`. Contract: `paring.core.target.Target`."""

    name: ClassVar[str] = "litert"
    suffix: ClassVar[str] = ".tflite"
    limits: ClassVar[Limits] = Limits(
        weights=frozenset({"float32", "int8", "int4"}),
        activations=frozenset({"float32", "int8", "int16"}),
        per_channel=True,
        # XNNPACK has no such kernel for depthwise convolutions, and of int4 for matrices only
        dynamic=frozenset(
            {("int8", "linear", 0), ("int8", "conv", 0), ("int8", "embedding", 0), ("int4", "embedding", 0)}
            | {("int4", "linear", size) for size in (0, 32, 64, 128, 256)}
        ),
        # on x86-64 with VNNI, one thread: of 14 to 16 they take 1.2 to 2.5 times as long, of 27 to 82 0.4 to 0.96 times
        intensity=24.0,
        stored=frozenset((dtype, kind, 0) for dtype in ("int8", "int4", "float16") for kind in _KINDS)
        - {("int4", "grouped", 0)},  # which takes a hundred times as long
        # an int4 constant is unpacked at each inference; XNNPACK has int4 kernels for matrices alone
        slow=frozenset(
            {("int4", kind, "float32") for kind in _KINDS if kind != "embedding"}
            | {("int4", "conv", "int8"), ("int4", "depthwise", "int8")}
            # its delegate takes none of sixteen bits, the reference kernels do
            | {("int8", kind, "int16") for kind in ("conv", "depthwise", "linear")}
        ),
    )
    Options: ClassVar[type[ExportOptions]] = ExportOptions

    def check(self, model: Model) -> Sequence[Problem]:
        """Operators without a lowering, inputs and outputs of types that the file cannot hold."""
        from paring.targets.litert.check import problems

        return problems(model)

    def advise(self, model: Model, program: "ExportedProgram") -> Sequence[Problem]:
        """Operators that XNNPACK does not take, and transposes; see `paring.targets.litert.advice`."""
        from paring.targets.litert.advice import advice

        return advice(model, program)

    def export(self, model: Model, path: Path, options: ExportOptions = FLOAT_ENDS) -> Path:
        """Writes a `.tflite`; see `paring.targets.litert.export.export`."""
        from paring.targets.litert.export import export

        return export(model, path, options)

    def describe(self, artifact: Path) -> Contents:
        """Operators and tensors of a `.tflite`."""
        from paring.targets.litert.contents import contents

        return contents(artifact.read_bytes())

    def open(self, artifact: Path, threads: int = 1) -> Runner:
        """Loads a `.tflite` into ai-edge-litert; see `paring.targets.litert.runner.LiteRTRunner`."""
        from paring.targets.litert.runner import LiteRTRunner

        return LiteRTRunner(artifact, threads)

    def reference(self, artifact: Path) -> Runner:
        """Loads a `.tflite` with LiteRT's reference kernels, which are slow and plain."""
        from ai_edge_litert.interpreter import OpResolverType

        from paring.targets.litert.runner import LiteRTRunner

        return LiteRTRunner(artifact, experimental_op_resolver_type=OpResolverType.BUILTIN_REF)

    def trace(self, artifact: Path, model: Model, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """What each quantized layer gives; see `paring.targets.litert.trace.trace`."""
        from paring.targets.litert.trace import trace

        return trace(artifact, model, inputs)
