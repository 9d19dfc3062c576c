"""TensorFlow Lite Micro: full-int8 `.micro.tflite` files for microcontrollers, and the same as C arrays."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from paring.core.record import Origin, Record
from paring.core.target import Contents, Limits, Problem, Runner
from paring.targets.int8 import INTEGERS, Int8Target

if TYPE_CHECKING:
    from paring.targets.int8.operators import Operator


class Micro(Int8Target):
    """The target `micro`. Contract: `paring.core.target.Target`."""

    name: ClassVar[str] = "micro"
    suffix: ClassVar[str] = ".micro.tflite"
    limits: ClassVar[Limits] = replace(
        INTEGERS, costly_scales=frozenset({"linear"})
    )  # of convolutions it keeps as much in any case
    judges: ClassVar[frozenset[str]] = frozenset()
    package: ClassVar[str] = "tflite-micro"

    def judge(self, operators: "Sequence[Operator]") -> Sequence[Problem]:
        """Operators that the interpreter lacks, which block; and what computes in float there, which does not."""
        from paring.targets.int8.rules import CONVERSIONS, remedy
        from paring.targets.micro.resolver import known

        found = []
        for one in operators:
            of = f" (of {one.source})" if one.source else ""
            if one.name.isupper() and one.name not in known():
                what = f"TensorFlow Lite Micro has no {one.name}{of}"
                found.append(Problem(what, one.where, f"replace the layer: {remedy(one)}"))
            elif one.dtype.startswith("float") and one.name not in CONVERSIONS:
                what = f"{one.name}{of} computes in float, which is slow where the processor has no such unit"
                found.append(Problem(what, one.where, remedy(one), severity="slow"))
        return list(dict.fromkeys(found))

    def why_not_run(self) -> str | None:
        """The interpreter runs here."""
        return None

    def why_not_timed(self) -> str | None:
        """The interpreter's reference kernels on this machine."""
        return "its kernels on this machine say nothing of a microcontroller's time"

    def open(self, artifact: Path, threads: int = 1) -> Runner:
        """Loads the file into the interpreter; see `paring.targets.micro.runner.MicroRunner`."""
        from paring.targets.micro.runner import MicroRunner

        return MicroRunner(artifact, threads)

    def describe(self, artifact: Path) -> Contents:
        """Operators and tensors."""
        from paring.targets.litert.contents import contents

        return contents(artifact.read_bytes())

    def accompany(self, artifact: Path) -> Sequence[Path]:
        """The file as a C array: `model.h` and `model.cc`, with the bytes that the interpreter needs."""
        from paring.targets.micro import arena, array

        return array.write(artifact, arena.size(artifact), artifact.name.removesuffix(self.suffix))

    def estimate(self, artifact: Path, stage: str) -> Sequence[Record]:
        """Memory: `arena` is tried out in the interpreter, `flash` is the file, without the interpreter's code."""
        from paring.targets.micro import arena

        device = "TensorFlow Lite Micro, pointers of 64 bits"
        figures = {
            "arena": (arena.size(artifact), device, "paring.targets.micro.arena.size"),
            "flash": (artifact.stat().st_size, "none", "stat"),
        }
        return [
            Record(stage=stage, metric=metric, value=value, unit="bytes", device=on, origin=Origin.ESTIMATED, source=of)
            for metric, (value, on, of) in figures.items()
        ]
