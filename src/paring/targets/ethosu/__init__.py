"""Arm's Ethos-U: `.vela.tflite` files, compiled by Vela for an NPU beside a microcontroller."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, Self, cast

from pydantic import model_validator

from paring.core.errors import ParingError
from paring.core.record import Record
from paring.core.target import Contents, ExportOptions, Limits, Problem, Runner
from paring.targets.int8 import INTEGERS, Int8Options, Int8Target

if TYPE_CHECKING:
    from paring.targets.int8.operators import Operator

RULES = Path(__file__).with_name("rules.yaml")
ARM = "Arm/vela.ini"
# family -> (system configuration, memory mode) that Vela 5.2.0 takes where none are named
DEFAULTS = {
    "u55": ("Ethos_U55_High_End_Embedded", "Shared_Sram"),
    "u65": ("Ethos_U65_Client_Server", "Dedicated_Sram_384KB"),
    "u85": ("Ethos_U85_SYS_DRAM_Mid", "Dedicated_Sram_384KB"),
}
Accelerator = Literal[
    "ethos-u55-32", "ethos-u55-64", "ethos-u55-128", "ethos-u55-256", "ethos-u65-256", "ethos-u65-512",
    "ethos-u85-128", "ethos-u85-256", "ethos-u85-512", "ethos-u85-1024", "ethos-u85-2048",
]  # fmt: skip


class EthosUOptions(Int8Options):
    """How Vela compiles.

    Attributes:
        accelerator: the NPU, and its multiply–accumulates in a cycle.
        config: Vela's configuration file: Arm's, or the path of one of your own.
        system_config: section of it that gives clock and bandwidths; Vela's default of the accelerator where left out.
        memory_mode: section that says where weights and activations lie; likewise.
    """

    accelerator: Accelerator = "ethos-u55-128"
    config: str = ARM
    system_config: str = ""
    memory_mode: str = ""

    @model_validator(mode="after")
    def _of_one_family(self) -> Self:
        wanted = f"Ethos_{self.family.upper()}_"
        if self.config == ARM and self.system_config and not self.system_config.startswith(wanted):
            raise ValueError(f"a system_config of {self.accelerator} begins with {wanted}")
        return self

    @property
    def family(self) -> str:
        """`u55`, `u65` or `u85`."""
        return self.accelerator.split("-")[1]

    @property
    def sections(self) -> tuple[str, str]:
        """System configuration and memory mode."""
        system, memory = DEFAULTS[self.family]
        return self.system_config or system, self.memory_mode or memory


class EthosU(Int8Target):
    """The target `ethosu`. Contract: `paring.core.target.Target`.

    Attributes:
        family: of NPUs that `check` judges by: `u55`, `u65` or `u85`.
    """

    name: ClassVar[str] = "ethosu"
    suffix: ClassVar[str] = ".vela.tflite"
    limits: ClassVar[Limits] = INTEGERS
    judges: ClassVar[frozenset[str]] = frozenset({"latency"})
    Options: ClassVar[type[ExportOptions]] = EthosUOptions
    package: ClassVar[str] = "ethos-u-vela"

    def __init__(self, family: str = "u55") -> None:
        self.family = family

    def tailored(self, options: ExportOptions) -> "EthosU":
        """The target for the family of the accelerator."""
        return EthosU(options.family) if isinstance(options, EthosUOptions) else self

    def judge(self, operators: "Sequence[Operator]") -> Sequence[Problem]:
        """Operators that Vela will leave to the processor beside an NPU of the family; nothing refuses."""
        from paring.targets.int8.rules import left, read

        tables = read(RULES)
        own, largest = tables["u85" if self.family == "u85" else "u55"], tables["u85"]  # a U65 has the rules of a U55
        found = [(one, reason) for one in operators if (reason := own.reason(one)) is not None]
        return left(found, lambda one: "" if largest.reason(one) else "an Ethos-U85 runs it")

    def made(self, content: bytes, options: ExportOptions) -> bytes:
        """The file that Vela compiles, with what Vela says of it."""
        from paring.targets.ethosu.compile import compiled

        given = options if isinstance(options, EthosUOptions) else EthosUOptions()
        return compiled(content, given)

    def why_not_run(self) -> str | None:
        """The file holds an operator of the NPU's."""
        return "the file is compiled for an Ethos-U, which this machine has not"

    def why_not_timed(self) -> str | None:
        """Likewise."""
        return self.why_not_run()

    def open(self, artifact: Path, threads: int = 1) -> Runner:
        """Always raises ParingError."""
        raise ParingError(
            cast("str", self.why_not_run()), str(artifact), "run it on the board, or export to micro to see its answers"
        )

    def estimate(self, artifact: Path, stage: str) -> Sequence[Record]:
        """Time, cycles, memory and placement, as Vela estimates them."""
        from paring.targets.ethosu.compile import records

        return records(artifact, stage)

    def describe(self, artifact: Path) -> Contents:
        """Operators and tensors, the NPU's part as one CUSTOM operator; what is left to the processor, with reasons."""
        from paring.targets.ethosu.compile import contents

        return contents(artifact)

    def layers(self, artifact: Path) -> Sequence[Mapping[str, str]]:
        """Each layer as Vela places it: its operator, `NPU` or `CPU`, cycles, the tensor that it gives."""
        from paring.targets.ethosu.compile import told

        found: Sequence[Mapping[str, str]] = told(artifact)["layers"]
        return found
