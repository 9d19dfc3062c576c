"""Ways to reach a device: what each offers, and the table of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, Self

from paring.core.errors import ParingError
from paring.core.registry import Registry
from paring.core.target import Array
from paring.core.timing import Timing

WAYS = Registry(
    "way to reach a device",
    {
        "local": "paring.devices.local:open",
        "ssh": "paring.devices.ssh:open",
        "adb": "paring.devices.adb:open",
        "emulated-arm64": "paring.devices.emulated:open",
    },
    extras={"ssh": "ssh"},
)


@dataclass(frozen=True, slots=True)
class Work:
    """An exported file and what to feed it.

    Attributes:
        artifact: the file; its suffix tells the runtime.
        inputs: by the file's names, its own types and layout, batch in front; several samples run one by one.
        kernels: `reference` for LiteRT's own kernels without XNNPACK; empty for what the runtime chooses.
    """

    artifact: Path
    inputs: Mapping[str, Array] = field(default_factory=dict)
    kernels: str = ""


@dataclass(frozen=True, slots=True)
class Measured:
    """What a device measured of one file.

    Attributes:
        timing: of one inference, all files in turn.
        peak: bytes resident at most in a fresh process that loads and runs it, interpreter and runtime included; None
            where this way cannot tell.
        device: of a record: processor, runtime, threads.
    """

    timing: Timing
    peak: int | None
    device: str


@dataclass(frozen=True, slots=True)
class Options:
    """How to reach a device, besides its address.

    Attributes:
        identity: private key for SSH; the agent's and those in `~/.ssh` where it is None.
        known_hosts: keys of known hosts; `~/.ssh/known_hosts` where it is None.
        python: on the device; empty for the way's own.
        cores: numbers of the cores to stay on; empty for as many as there are threads, the last ones.
        benchmark_model: path on the device of LiteRT's binary of that name, for devices without Python.
    """

    identity: Path | None = None
    known_hosts: Path | None = None
    python: str = ""
    cores: tuple[int, ...] = ()
    benchmark_model: str = ""


class Reach(Protocol):
    """A device within reach, until the `with` block ends; nothing is left on it then.

    Attributes:
        emulated: whether times are an emulator's: never to be compared with a device's.
    """

    emulated: bool

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def run(self, work: Work, threads: int = 1) -> dict[str, Array]:
        """Answers of a file for every sample, as the file gives them, by its names, batch in front.

        Raises:
            ParingError: the device is out of reach, lacks what the file needs, is full, or refuses the file.
        """

    def bench(self, work: Mapping[str, Work], *, threads: int = 1, seconds: float = 4.0) -> dict[str, Measured]:
        """Times files in turn, and takes their peak memory.

        Args:
            work: by name; ratios are to the first; one sample each.
            threads: that the runtime may use.
            seconds: to spend, roughly, on the timing of all.

        Raises:
            ParingError: as `run`.
        """


def open(address: str, options: Options = Options()) -> Reach:
    """The device at an address: `local`, `ssh://user@host:port`, `adb`, `adb:serial`, `emulated-arm64`.

    Raises:
        UnknownName: no way is called so.
        MissingExtra: the way needs a package that is not installed.
        ParingError: the address cannot be read, or an option is of another way.
    """
    way, _, rest = address.partition(":")
    _refuse_foreign(way, options)
    found: Reach = WAYS.load(way)(rest, options)
    return found


def _refuse_foreign(way: str, options: Options) -> None:
    """Raises ParingError on an option that the way would not heed."""
    only = {"identity": "ssh", "known_hosts": "ssh", "benchmark_model": "adb"}
    for name, owner in only.items():
        if getattr(options, name) and way in WAYS and way != owner:
            option = f"--{name.replace('_', '-')}"
            raise ParingError(f"{option} is of {owner} alone", f"--on {way}", "leave it out")
