"""This machine, in a fresh process: cores and threads of their own, the runner that devices get."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from paring.core.errors import ParingError
from paring.devices.process import ProcessPipe
from paring.devices.reach import Options, Reach
from paring.devices.remote import LACKING
from paring.devices.session import Pipe, Session


def open(rest: str, options: Options) -> Reach:
    """This machine. Raises ParingError where something stands behind `local`."""
    if rest:
        raise ParingError("takes nothing behind it", f"local:{rest}", "write local")
    return Session(_Local(options.python or sys.executable), options.cores)


class _Local:
    where, lasting, emulated, cpu, lacking = "local", False, False, "", LACKING
    launch: Sequence[str] = ()

    def __init__(self, python: str) -> None:
        self._python = python

    def start(self, code: str) -> Pipe:
        """Starts Python."""
        return ProcessPipe([self._python, "-c", code])

    def end(self) -> None:
        """Nothing to let go of."""
