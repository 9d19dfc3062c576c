"""The run directory: finished work is kept under a key, and never done twice."""

import fcntl
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from paring.core import atomic
from paring.core.errors import Busy, ParingError
from paring.core.model import Json

_KEY = "key.json"


def key(*parts: Json) -> str:
    """A digest of JSON values: the same values, the same key."""
    canonical = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Done:
    """A finished piece of work.

    Attributes:
        path: the folder that holds it.
        seconds: how long it took when it was done.
        cached: whether it was taken from an earlier run.
    """

    path: Path
    seconds: float
    cached: bool


class RunDirectory:
    """`runs/NAME/`: `recipe.yaml`, `steps/`, `artifacts/`, `records/`, `report.html`, `report.json`, `log.jsonl`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps every other process out meanwhile.

        Raises:
            Busy: another process holds the lock; the message gives its number.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = os.open(self.path / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise ParingError(
                f"cannot be used as a run directory: {error.strerror}", str(self.path), "choose another --out"
            ) from error
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                holder = os.read(lock, 32).decode() or "unknown"
                raise Busy(
                    f"process {holder} works in it", str(self.path), "wait for it to end, or choose another --out"
                ) from error
            os.ftruncate(lock, 0)
            os.pwrite(lock, str(os.getpid()).encode(), 0)
            yield
        finally:
            os.close(lock)  # the kernel drops the lock, also when the process is killed

    def once(self, name: str, key: str, make: Callable[[Path], None]) -> Done:
        """The folder `name`, made by `make` unless it is there with the same key.

        A folder of another key stays until the new one is complete.
        """
        path = self.path / name
        seconds = self._seconds(path, key)
        if seconds is not None:
            self.log("reused", name=name, key=key)
            return Done(path, seconds, cached=True)
        self.log("begun", name=name, key=key)
        started = time.perf_counter()
        with atomic.directory(path) as folder:
            make(folder)
            seconds = time.perf_counter() - started
            (folder / _KEY).write_text(json.dumps({"key": key, "seconds": seconds}) + "\n")
        self.log("finished", name=name, key=key, seconds=round(seconds, 3))
        return Done(path, seconds, cached=False)

    @contextmanager
    def workspace(self, name: str, key: str) -> Iterator[Path]:
        """A folder that outlives a kill, for state to go on from; it goes away when the block ends well."""
        path = self.path / ".work" / f"{name}-{key[:12]}"
        path.mkdir(parents=True, exist_ok=True)
        yield path
        shutil.rmtree(path, ignore_errors=True)

    def log(self, event: str, **facts: Json) -> None:
        """One line in `log.jsonl`."""
        line = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": event, **facts}
        try:
            with (self.path / "log.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        except OSError as error:
            raise ParingError(str(error.strerror), str(self.path), "free space, or choose another --out") from error

    @staticmethod
    def _seconds(path: Path, key: str) -> float | None:
        """How long the work at `path` took, if it was done under this key."""
        try:
            found = json.loads((path / _KEY).read_text())
            return float(found["seconds"]) if found["key"] == key else None
        except (OSError, ValueError, KeyError, TypeError):
            return None
