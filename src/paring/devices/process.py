"""A process on this machine as a pipe: of this machine's Python, an emulator, or a tool that reaches a device."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress

from paring.devices.session import Broken

_PATIENCE = 10.0  # seconds for a process to end


class ProcessPipe:
    """Contract: `paring.devices.session.Pipe`."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        self._errors = tempfile.TemporaryFile()
        try:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors,
                env=os.environ | (environment or {}), start_new_session=True,  # Ctrl-C is ours to handle
            )  # fmt: skip
        except OSError as error:
            self._errors.close()
            raise Broken(f"{command[0]}: {(error.strerror or str(error)).lower()}") from error

    def send(self, data: bytes) -> None:
        """Writes."""
        try:
            assert self._process.stdin is not None
            self._process.stdin.write(data)
            self._process.stdin.flush()
        except OSError as error:
            raise self._broken() from error

    def receive(self) -> bytes:
        """The next line."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line.endswith(b"\n"):
            raise self._broken()
        return line

    def close(self) -> None:
        """Ends the process's input and waits for it."""
        for stream in (self._process.stdin, self._process.stdout):
            with suppress(OSError):
                if stream is not None:
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
