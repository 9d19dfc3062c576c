"""arm64 on this machine: real aarch64 wheels under QEMU. Answers and operators count, times are the emulator's."""

from __future__ import annotations

from collections.abc import Sequence

from paring.core.errors import ParingError
from paring.devices import arm64
from paring.devices.process import ProcessPipe
from paring.devices.reach import Options, Reach
from paring.devices.session import Pipe, Session


def open(rest: str, options: Options) -> Reach:
    """The emulated device. Raises ParingError where `arm64.prepare` was not called yet, or on an option."""
    if rest or options.python:
        raise ParingError("takes no address and no Python", "emulated-arm64", "write emulated-arm64")
    made = arm64.find()
    if made is None:
        raise ParingError(
            "is not set up for these versions of the runtimes", "emulated-arm64", "paring prepare emulated-arm64"
        )
    return Session(_Emulated(made), options.cores)


class _Emulated:
    where, lasting, emulated = "emulated-arm64", False, True
    lacking, cpu = "paring prepare emulated-arm64", f"emulated arm64 (QEMU, {arm64.CORE})"

    def __init__(self, made: arm64.Emulated) -> None:
        # a process there starts the next one by the emulator, too: the kernel here cannot run arm64 programs
        self.launch: Sequence[str] = made.command()

    def start(self, code: str) -> Pipe:
        """Starts Python."""
        return ProcessPipe([*self.launch, "-c", code])

    def end(self) -> None:
        """Nothing to let go of."""
