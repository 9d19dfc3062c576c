"""This machine, in a fresh process: cores and threads of their own, the runner that devices get."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from paring.core.errors import ParingError
from paring.devices.process import ProcessPipe
from paring.devices.reach import Options, Reach
from paring.devices.session import Pipe, Session


def open(rest: str, options: Options) -> Reach:
    """This machine. Raises ParingError where something stands behind `local`."""
    if rest:
        raise ParingError("takes nothing behind it", f"local:{rest}", "write local")
    return Session(_Local(options.python or sys.executable), options.cores)


class _Local:
    where, lasting, emulated, cpu = "local", False, False, ""
    launch: Sequence[str] = ()

    def __init__(self, python: str) -> None:
        self.python = python

    def start(self, code: str) -> Pipe:
        return ProcessPipe([self.python, "-c", code])

    def end(self) -> None:
        pass
