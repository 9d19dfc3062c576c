"""The runner on a device: takes files, does jobs, and clears its folder away whatever happens.

It speaks JSON lines: a message a line on standard input, a reply a line on standard output. Content travels as base64.

    {"do": "has", "names": [...]}                           -> {"reply": "has", "names": [...]}
    {"do": "put", "name": N, "data": D, "first": F, "last": L}  -> {"reply": "put"}
    {"do": "work", "job": {...}}                            -> {"reply": "work", ...}       once it is done
    {"do": "get", "name": N, "offset": O}                   -> {"reply": "get", "data": D}  empty at the end
    {"do": "bye"}                                           -> {"reply": "bye"}

What cannot be done is answered by `{"reply": "error", "problem": …, "remedy": …}`. A file is called by the SHA-256 of
its content, a result by that of its job; both are there after a lost connection, and are not asked for again.

Standard input is the lifeline. When it ends the runner finishes what it measures, waits for `grace` seconds for a
runner that takes the folder over, and removes the folder. What a killed runner left is removed by the next one.
"""

from __future__ import annotations

import base64
import errno
import fcntl
import hashlib
import json
import os
import platform
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from paring.core.processor import cpu
from paring.devices.remote import runtimes

PREFIX = "paring-"
CHUNK = 1 << 20  # bytes of content in a message
_IDLE = 600.0  # seconds without a word, after which the other side is taken for gone: a cut cable tells nothing
_YOUNG = 60.0  # seconds in which a folder may be without its lock
_STEP = 0.05  # seconds between looks at work under way
_ENDED = "ended"


class Refused(Exception):
    """What the other side is told: problem and remedy."""


def serve(folder: Path, launch: list[str], grace: float) -> None:
    """Answers until the other side says goodbye or is gone.

    Args:
        folder: holds this runner; nothing else is written to.
        launch: command that starts Python here.
        grace: seconds to wait for a lost connection to come back.
    """
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # through `finally`
    lock = (folder / "lock").open("w")
    _take_over(folder, lock)
    _sweep(folder)
    server = _Server(folder, launch, grace)
    keep = False
    try:
        server.reply(_facts(folder))
        keep = server.answer_all()
    finally:
        server.stop_work()
        if keep:
            lock.close()
        else:
            shutil.rmtree(folder, ignore_errors=True)


class _Server:
    def __init__(self, folder: Path, launch: list[str], grace: float) -> None:
        self.folder, self.launch, self.grace = folder, launch, grace
        self.lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.gone = False
        self.worker: subprocess.Popen[bytes] | None = None
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for line in sys.stdin:
            self.lines.put(line)
        self.lines.put(_ENDED)

    def reply(self, message: dict[str, Any]) -> None:
        if not self.gone:
            try:
                print(json.dumps(message), flush=True)
            except OSError:  # nobody reads any more
                self.gone = True

    def answer_all(self) -> bool:
        """Answers until the end; True if another runner takes the folder over."""
        heard = time.monotonic()
        while not self.gone and not self._claimed() and time.monotonic() < heard + _IDLE:
            with suppress(queue.Empty):
                line = self.lines.get(timeout=10 * _STEP)
                if line == _ENDED:
                    break
                if not self._answer(json.loads(line)):
                    return False
                heard = time.monotonic()
        until = time.monotonic() + self.grace
        while not self._claimed() and time.monotonic() < until:
            time.sleep(_STEP)
        return self._claimed()

    def _claimed(self) -> bool:
        return (self.folder / "claim").exists()

    def _answer(self, message: dict[str, Any]) -> bool:
        """Answers one message; False after the last."""
        what = message["do"]
        if what == "bye":
            shutil.rmtree(self.folder, ignore_errors=True)  # before the answer, so that whoever has it finds nothing
            self.reply({"reply": "bye"})
            return False
        try:
            found = {"has": self._has, "put": self._put, "work": self._work, "get": self._get}[what](message)
        except OSError as error:
            self.reply({"reply": "error", "problem": os.strerror(error.errno or 0).lower(), "remedy": _remedy(error)})
        except Refused as error:
            self.reply({"reply": "error", "problem": error.args[0], "remedy": error.args[1]})
        else:
            self.reply({"reply": what, **found})
        return True

    def _has(self, message: dict[str, Any]) -> dict[str, Any]:
        return {"names": [name for name in message["names"] if _digest(self._path(name)) == name.partition(".")[0]]}

    def _put(self, message: dict[str, Any]) -> dict[str, Any]:
        path = self._path(message["name"])
        draft = path.with_name(path.name + ".part")
        try:
            with draft.open("wb" if message["first"] else "ab") as file:
                file.write(base64.b64decode(message["data"]))
        except OSError:
            draft.unlink()
            raise
        if message["last"]:
            if _digest(draft) != path.name.partition(".")[0]:
                raise Refused("a file arrived damaged", "run it again")
            draft.replace(path)
        return {}

    def _get(self, message: dict[str, Any]) -> dict[str, Any]:
        with self._path(message["name"]).open("rb") as file:
            file.seek(message["offset"])
            return {"data": base64.b64encode(file.read(CHUNK)).decode()}

    def _work(self, message: dict[str, Any]) -> dict[str, Any]:
        text = json.dumps(message["job"], sort_keys=True)
        name = hashlib.sha256(text.encode()).hexdigest()
        job, result, log = (self.folder / f"{name}.{kind}" for kind in ("job", "result", "log"))
        if not result.exists():
            job.write_text(text)
            with log.open("wb") as errors:
                command = [*self.launch, str(self.folder / "runner.pyz"), str(job), str(result)]
                self.worker = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors, cwd=self.folder
                )
            self._wait()
        if not result.exists():
            raise _failed(self.worker, log)
        found: dict[str, Any] = json.loads(result.read_text())
        return found

    def _wait(self) -> None:
        """Waits for work under way; where the other side goes meanwhile, for the grace."""
        until = None
        while self.worker is not None and self.worker.poll() is None:
            with suppress(queue.Empty):
                line = self.lines.get(timeout=_STEP)
                if line == _ENDED:
                    self.gone = True
                else:  # whoever speaks before the answer does not want it any more
                    self.stop_work()
                    self.lines.put(line)
            self.gone = self.gone or self._claimed()
            if self.gone:
                until = until or time.monotonic() + self.grace
                if time.monotonic() > until or self._claimed():
                    self.stop_work()
                time.sleep(_STEP)

    def stop_work(self) -> None:
        if self.worker is not None and self.worker.poll() is None:
            self.worker.kill()
            self.worker.wait()

    def _path(self, name: str) -> Path:
        if not name.replace(".", "").isalnum() or name.startswith("."):
            raise Refused(f"{name!r} is no name of a file here", "run it again")
        return self.folder / name


def _facts(folder: Path) -> dict[str, Any]:
    return {
        "reply": "ready",
        "folder": str(folder),
        "cpu": cpu(),
        "cores": sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [],
        "python": f"{platform.python_version()} at {sys.executable}",
        "numpy": runtimes.numpy_version(),
        "runtimes": {suffix: label for suffix, (_, label) in runtimes.found().items()},
    }


def _take_over(folder: Path, lock: Any) -> None:
    """Waits until the runner that had the folder before is gone."""
    claim = folder / "claim"
    claim.touch()
    fcntl.flock(lock, fcntl.LOCK_EX)
    claim.unlink()


def _sweep(own: Path) -> None:
    """Removes folders of this user whose runners were killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with suppress(OSError):
            if (
                folder == own
                or folder.stat().st_uid != os.getuid()
                or time.time() - folder.stat().st_mtime < _IDLE / 10
            ):
                continue
            with (folder / "lock").open() as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            digest = hashlib.sha256()
            while chunk := file.read(CHUNK):
                digest.update(chunk)
            return digest.hexdigest()
    except FileNotFoundError:
        return ""


def _remedy(error: OSError) -> str:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    place = tempfile.gettempdir()
    return f"free space in {place} on the device, or set TMPDIR there to another folder" if full else "run it again"


def _failed(worker: subprocess.Popen[bytes] | None, log: Path) -> Refused:
    said = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    status = worker.returncode if worker is not None else 1
    if status < 0:
        return Refused(
            f"the runtime was killed by signal {-status}", "export it again, or take another runtime version"
        )
    return Refused(said[-1].strip() if said else f"the runtime ended with {status}", "export it again")
