"""Google's Coral Edge TPU: full-int8 `.edgetpu.tflite` files, and what its compiler makes of them."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from paring.core import atomic
from paring.core.record import Origin, Record
from paring.core.target import Contents, Problem, Runner
from paring.targets.int8 import Int8Target

if TYPE_CHECKING:
    from paring.targets.int8.operators import Operator


class EdgeTPU(Int8Target):
    """The target `edgetpu`. Contract: `paring.core.target.Target`."""

    name: ClassVar[str] = "edgetpu"
    suffix: ClassVar[str] = ".edgetpu.tflite"
    judges: ClassVar[frozenset[str]] = frozenset()

    def judge(self, operators: "Sequence[Operator]") -> Sequence[Problem]:
        """What the Edge TPU does not run, and where that cuts the graph; nothing refuses."""
        from paring.targets.edgetpu.mapping import mapping
        from paring.targets.int8.rules import left

        found = mapping(operators)
        problems = left((one, reason) for one, reason in found.left if one not in found.behind)
        if found.cut is None:
            return problems
        cut = Problem(
            f"cuts the graph: {found.cut.name}, and {len(found.behind)} operators after it, run on the processor",
            found.cut.where,
            "move the layer to the end, or replace it",
            severity="slow",
        )
        return [cut, *problems]

    def why_not_run(self) -> str | None:
        """The file that is not compiled yet runs anywhere."""
        return None

    def why_not_timed(self) -> str | None:
        """Here the processor runs everything."""
        return "the processor of this machine gives its answers, not an Edge TPU"

    def open(self, artifact: Path, threads: int = 1) -> Runner:
        """Loads the file, not compiled, into LiteRT; see `paring.targets.litert.runner.LiteRTRunner`."""
        from paring.targets.litert.runner import LiteRTRunner

        return LiteRTRunner(artifact, threads)

    def describe(self, artifact: Path) -> Contents:
        """Operators and tensors, and which operators the processor will run by the published rules."""
        from paring.targets.edgetpu.mapping import mapping
        from paring.targets.int8.operators import of_file
        from paring.targets.litert.contents import contents

        content = artifact.read_bytes()
        left = mapping(of_file(content)).left
        return replace(contents(content), on_processor=tuple((one.name, one.where) for one, _ in left))

    def accompany(self, artifact: Path) -> Sequence[Path]:
        """Where `edgetpu_compiler` is on the PATH, the file for the Edge TPU and the compiler's log."""
        from paring.targets.edgetpu import compiler

        if not compiler.there():
            return ()
        content, said = compiler.compiled(artifact)
        made, log = _beside(artifact, "_edgetpu.tflite"), _beside(artifact, "_edgetpu.log")
        with atomic.write(made) as temporary:
            temporary.write_bytes(content)
        with atomic.write(log) as temporary:
            temporary.write_text(said, encoding="utf-8")
        return made, log

    def estimate(self, artifact: Path, stage: str) -> Sequence[Record]:
        """Operators and parameters on the Edge TPU and off it: the compiler's where it ran, else by the rules."""
        from paring.targets.edgetpu import compiler
        from paring.targets.edgetpu.mapping import CACHE, mapping
        from paring.targets.int8.operators import of_file

        log = _beside(artifact, "_edgetpu.log")
        if log.is_file():
            said = compiler.parse(log.read_text(encoding="utf-8"))
            counts, source = (said.mapped, sum(said.left.values())), f"{compiler.COMMAND} {said.version}"
            chip, streamed = said.on_chip, said.off_chip
        else:
            found, source = mapping(of_file(artifact.read_bytes())), "paring.targets.edgetpu.mapping, Coral's rules"
            counts = len(found.mapped), len(found.left)
            chip, streamed = min(found.parameters, CACHE), max(found.parameters - CACHE, 0)
        figures = {
            "accelerated": (counts[0], "1"),
            "on_processor": (counts[1], "1"),
            "on_chip": (chip, "bytes"),
            "off_chip": (streamed, "bytes"),
        }
        return [
            Record(
                stage=stage, metric=metric, value=value, unit=unit, device="Edge TPU", origin=Origin.ESTIMATED,
                source=source,
            )
            for metric, (value, unit) in figures.items()
            if value is not None
        ]  # fmt: skip


def _beside(artifact: Path, ending: str) -> Path:
    return artifact.with_name(artifact.name.removesuffix(EdgeTPU.suffix) + ending)
