"""A device that has Python: the runner is started on it, given files and jobs, and asked for results."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar

import numpy as np

from paring.core.artifact import files
from paring.core.errors import ParingError
from paring.core.processor import device
from paring.core.target import Array
from paring.core.timing import Timing
from paring.devices import remote
from paring.devices.reach import Measured, Work
from paring.devices.remote.runtimes import WHEELS

T = TypeVar("T")
GRACE = 60.0  # seconds that a runner waits for a lost connection before it clears its folder away
_PAUSES = (0.2, 1.0, 3.0, 10.0)  # seconds before each try to connect again
_CHUNK = 1 << 20


class Broken(Exception):
    """The connection is lost, or the process at its other end is gone."""


class Unreachable(ParingError):
    """The device cannot be reached."""


class Pipe(Protocol):
    """Standard input and output of a process on the device."""

    def send(self, data: bytes) -> None:
        """Writes; raises Broken."""

    def receive(self) -> bytes:
        """The next line; raises Broken at the end, with what the process said on standard error."""

    def close(self) -> None:
        """Ends the process's input and waits for its end, not for long."""


class Way(Protocol):
    """How a process is started on a device.

    Attributes:
        where: the address, for messages.
        lacking: what to do where Python cannot be started.
        lasting: whether a lost connection can be made again.
        emulated: see `Reach`.
        launch: command that starts Python from a process there, if that is not the interpreter itself.
        cpu: instead of what the device says of its processor; empty for that.
    """

    where: str
    lacking: str
    lasting: bool
    emulated: bool
    launch: Sequence[str]
    cpu: str

    def start(self, code: str) -> Pipe:
        """Starts Python with `-c code`. Raises Unreachable, or ParingError on what trying again cannot mend."""

    def end(self) -> None:
        """Lets go of the device."""


class Session:
    """Contract: `paring.devices.reach.Reach`, over any way to start a process.

    A connection that breaks is made again, and what was under way is asked for again: files that are there by their
    SHA-256 are not copied a second time, a measurement that was finished is not repeated.
    """

    def __init__(self, way: Way, cores: tuple[int, ...] = ()) -> None:
        self._way, self._cores = way, cores
        self._pipe: Pipe | None = None
        self._folder = ""
        self.facts: dict[str, Any] = {}
        self.emulated = way.emulated

    def __enter__(self) -> Self:
        try:
            self._trying(lambda: None)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            if self._pipe is not None:
                self._ask({"do": "bye"})
        except (Broken, ParingError):
            pass  # it clears its folder away by itself
        finally:
            self._drop()
            self._way.end()

    def run(self, work: Work, threads: int = 1) -> dict[str, Array]:
        """Answers of a file for every sample; see `Reach.run`."""
        self._refuse([work])

        def done() -> bytes:
            return b"".join(self._content(self._do("run", [work], threads)["outputs"]))

        with np.load(io.BytesIO(self._trying(done)), allow_pickle=False) as file:
            return {name: file[name] for name in file.files}

    def bench(self, work: Mapping[str, Work], *, threads: int = 1, seconds: float = 4.0) -> dict[str, Measured]:
        """Times files in turn, and takes their peak memory; see `Reach.bench`."""
        wanted = list(work.values())
        self._refuse(wanted)
        timings = self._trying(lambda: self._do("latency", wanted, threads, seconds))["timings"]
        found = {}
        for (name, one), timing in zip(work.items(), timings, strict=True):
            peak = self._trying(lambda one=one: self._do("memory", [one], threads))["peak"]  # type: ignore[misc]
            runtime = self.facts["runtimes"][one.artifact.suffix]
            where = device(self._way.cpu or self.facts["cpu"], runtime, threads)
            found[name] = Measured(Timing(**timing), peak, where)
        return found

    def _refuse(self, work: Sequence[Work]) -> None:
        """Raises ParingError where the device lacks what files need, or a core."""
        for suffix in dict.fromkeys(one.artifact.suffix for one in work):
            if suffix not in WHEELS:
                raise ParingError(f"no runtime for {suffix} files", self._way.where, f"one of: {', '.join(WHEELS)}")
            wheels = [] if self.facts["numpy"] else ["numpy"]
            wheels += [] if suffix in self.facts["runtimes"] else [WHEELS[suffix][0][0]]
            if wheels:
                python = self.facts["python"].rpartition(" at ")[2]
                raise ParingError(
                    f"Python {self.facts['python']} has no {' and no '.join(wheels)}",
                    self._way.where,
                    f"on the device: {python} -m venv --system-site-packages ~/paring && ~/paring/bin/python -m pip "
                    f"install {' '.join(wheels)}; then --python ~/paring/bin/python",
                )
        unknown = sorted(set(self._cores) - set(self.facts["cores"]))
        if unknown:
            there = ", ".join(map(str, self.facts["cores"])) or "none that a process could stay on"
            raise ParingError(f"there is no core {unknown[0]}", self._way.where, f"the cores there: {there}")

    def _do(self, kind: str, work: Sequence[Work], threads: int, seconds: float = 0.0) -> dict[str, Any]:
        """Copies what a job needs and does it."""
        wanted = [
            {"artifact": self._copy(_bytes(one.artifact), one.artifact.suffix),
             "inputs": self._copy(_packed(one.inputs), ".npz"), "kernels": one.kernels}
            for one in work
        ]  # fmt: skip
        job = {"kind": kind, "threads": threads, "cores": list(self._cores), "seconds": seconds, "work": wanted}
        try:
            return self._ask({"do": "work", "job": job})
        except ParingError as error:
            names = ", ".join(str(one.artifact) for one in work)
            raise ParingError(error.problem, f"{names} on {self._way.where}", error.remedy) from error

    def _copy(self, content: bytes, suffix: str) -> str:
        """The name of a file on the device with that content; copied if it is not there."""
        name = f"{hashlib.sha256(content).hexdigest()}{suffix}"
        if self._ask({"do": "has", "names": [name]})["names"]:
            return name
        for begin in range(0, max(1, len(content)), _CHUNK):
            data, last = content[begin : begin + _CHUNK], begin + _CHUNK >= len(content)
            text = base64.b64encode(data).decode()
            self._ask({"do": "put", "name": name, "data": text, "first": begin == 0, "last": last})
        return name

    def _content(self, name: str) -> Iterator[bytes]:
        offset = 0
        while data := base64.b64decode(self._ask({"do": "get", "name": name, "offset": offset})["data"]):
            yield data
            offset += len(data)

    def _trying(self, what: Callable[[], T]) -> T:
        """Does something, from its beginning again where the connection breaks."""
        for pause in (*(_PAUSES if self._way.lasting else ()), None):
            try:
                if self._pipe is None:
                    self._connect()
                return what()
            except (Broken, Unreachable) as error:
                self._drop()
                if not self._folder and isinstance(error, Unreachable):
                    raise
                if pause is None or not self._folder:
                    raise self._lost(error) from error
                time.sleep(pause)
        raise AssertionError

    def _lost(self, error: Exception) -> ParingError:
        said = error.problem if isinstance(error, ParingError) else str(error)
        if not self._folder:
            return ParingError(f"Python could not be started there: {said}", self._way.where, self._way.lacking)
        return ParingError(
            f"the connection is lost: {said or 'it ended'}",
            self._way.where,
            f"run it again; what is on the device goes by itself within {GRACE:.0f} seconds",
        )

    def _connect(self) -> None:
        self._pipe = self._way.start(remote.COMMAND)
        self._pipe.send(remote.greeting(self._folder, list(self._way.launch), GRACE))
        self.facts = self._answer()
        self._folder = self.facts["folder"]

    def _drop(self) -> None:
        pipe, self._pipe = self._pipe, None
        if pipe is not None:
            pipe.close()

    def _ask(self, message: dict[str, Any]) -> dict[str, Any]:
        if self._pipe is None:
            raise Broken("not connected")
        self._pipe.send(json.dumps(message).encode() + b"\n")
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        """The next reply; what login scripts print before it is passed over."""
        while self._pipe is not None:
            line = self._pipe.receive()
            if line.startswith(b'{"reply": '):
                reply: dict[str, Any] = json.loads(line)
                if reply["reply"] == "error":
                    raise ParingError(reply["problem"], self._way.where, reply["remedy"])
                return reply
        raise Broken("not connected")


def _bytes(artifact: Path) -> bytes:
    """Of a file; a folder's as a zip file, the same bytes each time."""
    if not artifact.is_dir():
        return artifact.read_bytes()
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as folder:
        for file in files(artifact):
            folder.writestr(zipfile.ZipInfo(file.relative_to(artifact).as_posix()), file.read_bytes())
    return content.getvalue()


def _packed(arrays: Mapping[str, Array]) -> bytes:
    """As `.npz`, the same bytes each time."""
    content = io.BytesIO()
    np.savez(content, **arrays)  # type: ignore[arg-type]
    return content.getvalue()
