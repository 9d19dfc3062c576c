"""What the targets share that take full-int8 `.tflite` files: integers from end to end, images as cameras give them."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from paring.core import atomic
from paring.core.errors import MissingExtra, ParingError
from paring.core.model import Model
from paring.core.target import ExportOptions, Limits, Problem, Runner, Target, why_not_run

if TYPE_CHECKING:
    from paring.targets.int8.operators import Operator


class Int8Options(ExportOptions):
    """How a full-int8 file is fed: codes (int16 ones where its first layer takes these), channels last. No choice."""

    io: Literal["int8"] = "int8"
    layout: Literal["NHWC"] = "NHWC"


INT8_ENDS = Int8Options()
INT8_ALONE = Limits(weights=frozenset({"int8"}), activations=frozenset({"int8"}))
INTEGERS = Limits(weights=frozenset({"int8"}), activations=frozenset({"int8", "int16"}))


class Int8Target(ABC):
    """A target that starts from LiteRT's full-int8 file. Contract: `paring.core.target.Target`.

    Attributes:
        package: that it needs besides LiteRT's, installed by the extra of its name; empty for none.
    """

    name: ClassVar[str]
    suffix: ClassVar[str]
    limits: ClassVar[Limits] = INT8_ALONE
    Options: ClassVar[type[ExportOptions]] = Int8Options
    package: ClassVar[str] = ""

    def check(self, model: Model) -> Sequence[Problem]:
        """What LiteRT cannot hold, and what this target lacks or leaves to the processor.

        A float model is judged by the file that quantizing it to int8 will give.

        Raises:
            MissingExtra: the target's package is not installed.
        """
        self._require()
        from paring.targets.int8.look import look

        seen = look(model)
        return [*seen.problems, *self.judge(seen.operators)]

    def export(self, model: Model, path: Path, options: ExportOptions = INT8_ENDS) -> Path:
        """Writes a full-int8 file, batch size one. Same model, same bytes.

        Raises:
            ParingError: the model is not quantized, LiteRT cannot hold it, the target lacks an operator, or it cannot
                be written. Nothing is written then.
        """
        where = f"export to {self.name}"
        if options.io != "int8" or options.layout != "NHWC":
            raise ParingError(f"{self.name} takes int8 codes, channels last", where, "leave `io` and `layout` out")
        refuse_float(model, self.name, where)
        self._require()
        from paring.targets import parity
        from paring.targets.int8.look import file_of, look
        from paring.targets.litert import LiteRT

        content = file_of(model)
        missing = [one for one in self.judge(look(model).operators) if one.severity == "refuses"]
        if missing:
            raise ParingError("; ".join(f"{one.where}: {one.problem}" for one in missing), where, missing[0].remedy)
        made = self.made(content, options)
        with atomic.write(path) as temporary:
            temporary.write_bytes(content)  # before it is compiled for what is not here
            proves: Target = self if why_not_run(self) is None else LiteRT()
            parity.require(proves, model, temporary, options)
            temporary.write_bytes(made)
        return path

    def _require(self) -> None:
        if not self.package:
            return
        try:
            version(self.package)
        except PackageNotFoundError as error:
            raise MissingExtra.of(self.package, self.name, f"target {self.name}") from error

    @abstractmethod
    def open(self, artifact: Path, threads: int = 1) -> Runner:
        """Loads a file into the runtime."""

    @abstractmethod
    def judge(self, operators: "Sequence[Operator]") -> Sequence[Problem]:
        """What the target lacks, or leaves to the processor, of the operators of a file."""

    def made(self, content: bytes, options: ExportOptions) -> bytes:
        """What is shipped, of LiteRT's full-int8 file: that itself, unless the target makes another of it."""
        return content


def refuse_float(model: Model, name: str, where: str) -> None:
    """Raises ParingError if no step has quantized the model."""
    if not model.quantized:
        raise ParingError(
            f"{name} runs models that are quantized to int8, and this one is not", where,
            "add the step quantize.static (or quantize.qat)",
        )  # fmt: skip
