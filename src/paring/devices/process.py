"""A process on this machine as a pipe: of this machine's Python, an emulator, or a tool that reaches a device."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import IO, cast

from paring.devices.session import Broken

_PATIENCE = 10.0  # seconds for a process to end


class ProcessPipe:
    """Contract: `paring.devices.session.Pipe`."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (closed by `close`)
        try:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors,
                env=os.environ | (environment or {}), start_new_session=True,  # Ctrl-C is ours to handle
            )  # fmt: skip
        except OSError as error:
            self._errors.close()
            raise Broken(f"{command[0]}: {(error.strerror or str(error)).lower()}") from error
        self._input, self._output = cast("IO[bytes]", self._process.stdin), cast("IO[bytes]", self._process.stdout)

    def send(self, data: bytes) -> None:
        """Writes."""
        try:
            self._input.write(data)
            self._input.flush()
        except OSError as error:
            raise self._broken() from error

    def receive(self) -> bytes:
        """The next line."""
        line = self._output.readline()
        if not line.endswith(b"\n"):
            raise self._broken()
        return line

    def close(self) -> None:
        """Ends the process's input and waits for it."""
        for stream in (self._input, self._output):
            with suppress(OSError):
                stream.close()
        try:
            self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._errors.close()

    def _broken(self) -> Broken:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(1.0)
        self._errors.seek(0)
        said = self._errors.read().decode(errors="replace").strip().splitlines()
        return Broken(said[-1] if said else f"it ended with {self._process.poll()}")
