"""A device: what it runs, and with what."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator

from paring.core.registry import with_options
from paring.core.target import TargetSpec
from paring.core.units import size, written

Bytes = Annotated[int, BeforeValidator(size)]
"""`4 GiB` in a file; bytes here."""
Number = Literal["float32", "int8"]
FIGURES = ("cpu", "cores", "ram", "flash", "dtypes", "accelerates", "memory")


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Accelerator(_Part):
    """What makes some kinds of numbers fast.

    Attributes:
        unit: its name, e.g. `Neon, 128 bits`.
        lanes: kind of number -> how many it computes on at once.
        memory: of its own for weights; those that do not fit are fetched at each inference.
    """

    unit: str
    lanes: dict[Number, Annotated[int, Field(ge=1)]] = {}
    memory: Bytes | None = None

    def __str__(self) -> str:
        lanes = ", ".join(f"{count} of {kind} at once" for kind, count in self.lanes.items())
        return f"{self.unit}: {lanes}" if lanes else self.unit


class Reach(_Part):
    """How to get at a device.

    Attributes:
        via: `local`: it is this machine; `ssh`; `adb`; `none`: paring cannot run anything there.
        host: of `ssh`, or the serial number of `adb`.
        port: of `ssh`.
        user: of `ssh`.
        note: what a person has to know or to do.
    """

    via: Literal["local", "ssh", "adb", "none"] = "none"
    host: str | None = None
    port: int | None = Field(default=None, ge=1, le=65535)
    user: str | None = None
    note: str = ""

    def __str__(self) -> str:
        place = "@".join(part for part in (self.user, self.host) if part) + (f":{self.port}" if self.port else "")
        return " ".join(part for part in (self.via, place, self.note and f"({self.note})") if part)


class Document(_Part):
    """Where figures come from.

    Attributes:
        title: of the document, with its publisher.
        address: on the web, where it is known for sure.
        gives: the figures that stand in it, of `FIGURES`.
    """

    title: str
    address: str = ""
    gives: tuple[Literal["cpu", "cores", "ram", "flash", "dtypes", "accelerates", "memory"], ...] = Field(min_length=1)

    def __str__(self) -> str:
        return f"{self.title}, {self.address}" if self.address else self.title


class Device(_Part):
    """A device profile, as in `devices/profiles/*.yaml`.

    Attributes:
        name: as in a recipe.
        description: for people.
        targets: runtimes that a recipe for it exports to, the first being what it is checked for.
        threads: that a runtime may use.
        cpu: the processor's name.
        cores: of the processor.
        ram: that programs share.
        flash: that holds the program, where the weights are read from flash in place; None where they are loaded into
            RAM.
        dtypes: kinds of numbers in which a network can run there.
        accelerates: what makes some of them fast; None where nothing does.
        reach: how to get at it.
        sources: of the figures.
    """

    name: str
    description: str
    targets: tuple[TargetSpec, ...] = Field(min_length=1)
    threads: int = Field(default=1, ge=1)
    cpu: str = ""
    cores: int | None = Field(default=None, ge=1)
    ram: Bytes | None = None
    flash: Bytes | None = None
    dtypes: tuple[Number, ...] = Field(default=("float32", "int8"), min_length=1)
    accelerates: Accelerator | None = None
    reach: Reach = Reach()
    sources: tuple[Document, ...] = ()

    @field_validator("targets", mode="before")
    @classmethod
    def _targets(cls, value: Any) -> Any:
        return with_options(value, "options")

    @property
    def figures(self) -> tuple[str, ...]:
        """Names of the figures that the profile states, of `FIGURES`."""
        stated = {
            "cpu": self.cpu,
            "cores": self.cores,
            "ram": self.ram,
            "flash": self.flash,
            "dtypes": "dtypes" in self.model_fields_set,
            "accelerates": self.accelerates,
            "memory": self.accelerates and self.accelerates.memory,
        }
        return tuple(name for name in FIGURES if stated[name])

    def told(self, figure: str) -> str:
        """A figure for people, e.g. `4.00 GiB`."""
        value = getattr(self.accelerates if figure == "memory" else self, figure)
        if figure in {"ram", "flash", "memory"}:
            return written(value)
        return ", ".join(value) if isinstance(value, tuple) else str(value)

    def sources_of(self, figure: str) -> tuple[Document, ...]:
        """The documents that give a figure."""
        return tuple(document for document in self.sources if figure in document.gives)
