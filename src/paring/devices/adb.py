"""An Android device over `adb`: with Python, where it has one, or with LiteRT's `benchmark_model`."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Sequence

from paring.core.errors import ParingError
from paring.devices.process import ProcessPipe
from paring.devices.reach import Options, Reach
from paring.devices.session import Pipe, Session, Unreachable

FOLDER = "/data/local/tmp"  # where the shell's user may write and execute
_TIMEOUT = 60  # seconds, for a command that measures nothing
_LIST = "adb devices lists what is there"
_REMEDIES = {  # what `adb` says -> what to do
    "no devices": "plug it in and allow USB debugging, or: adb connect HOST:PORT",
    "unauthorized": "unlock the device and allow debugging from this computer",
    "offline": "plug it in again, or: adb reconnect",
    "more than one": "name one: --on adb:SERIAL (adb devices lists them)",
    "not found": _LIST,
}


class ADB:
    """The `adb` tool, for one device.

    Args:
        serial: of the device; empty where there is only one.

    Raises:
        ParingError: `adb` is not installed.
        Unreachable: it finds no such device, or may not use it.
    """

    def __init__(self, serial: str) -> None:
        self.where = f"adb:{serial}" if serial else "adb"
        found = shutil.which("adb")
        if found is None:
            raise ParingError("there is no adb on the PATH", self.where, "apt install adb, or Android's platform-tools")
        self._command = [found, *(["-s", serial] if serial else [])]
        self.check()

    def check(self) -> None:
        """Raises Unreachable unless the device answers."""
        done = self._run("get-state")
        if done.returncode != 0 or done.stdout.strip() != "device":
            said = (done.stderr.strip() or done.stdout.strip() or "it does not answer").splitlines()[-1]
            remedy = next((remedy for word, remedy in _REMEDIES.items() if word in said), _LIST)
            raise Unreachable(f"cannot be reached: {said.removeprefix('error: ')}", self.where, remedy)

    def push(self, path: str | os.PathLike[str], there: str) -> None:
        """Copies a file. Raises ParingError."""
        done = self._run("push", os.fspath(path), there)
        if done.returncode != 0:
            said = (done.stderr.strip() or done.stdout.strip()).splitlines()
            raise ParingError(
                f"cannot be copied to: {said[-1] if said else 'adb failed'}", self.where, f"free space in {FOLDER}"
            )

    def shell(self, command: str, timeout: float = _TIMEOUT) -> tuple[int, str]:
        """Runs a line there; status, and what it printed to either stream."""
        done = self._run("shell", f"{command} 2>&1", timeout=timeout)
        return done.returncode, done.stdout + done.stderr

    def pipe(self, command: str) -> Pipe:
        """Starts a line there, with its input and output."""
        return ProcessPipe([*self._command, "shell", command])

    def cpu(self) -> str:
        """Maker, model and chip, as Android's properties tell them; empty where there are none."""
        names = ("ro.product.manufacturer", "ro.product.model", "ro.soc.model")
        status, told = self.shell("; ".join(f"getprop {name}" for name in names))
        return " ".join(told.split()) if status == 0 else ""

    def _run(self, *arguments: str, timeout: float = _TIMEOUT) -> subprocess.CompletedProcess[str]:
        command = [*self._command, *arguments]
        try:
            return subprocess.run(
                command, capture_output=True, text=True, errors="replace", timeout=timeout, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise Unreachable(f"does not answer within {timeout:.0f} seconds", self.where, _LIST) from error


def open(rest: str, options: Options) -> Reach:
    """The device with the serial number `rest`, or the only one."""
    adb = ADB(rest)
    if options.benchmark_model:
        from paring.devices.benchmark_model import BenchmarkModel

        return BenchmarkModel(adb, options.benchmark_model, options.cores)
    return Session(_Python(adb, options.python or "python3"), options.cores)


class _Python:
    lasting, emulated = True, False
    launch: Sequence[str] = ()
    lacking = (
        "an Android device has none as it comes: give LiteRT's benchmark binary with --benchmark-model, or run an SSH "
        "server and Python in Termux and reach it as ssh://"
    )

    def __init__(self, adb: ADB, python: str) -> None:
        self._adb, self.where, self._python, self.cpu = adb, adb.where, python, adb.cpu()

    def start(self, code: str) -> Pipe:
        """Starts Python."""
        self._adb.check()
        return self._adb.pipe(f"TMPDIR={FOLDER} exec {shlex.quote(self._python)} -c {shlex.quote(code)}")

    def end(self) -> None:
        """Nothing to let go of."""
