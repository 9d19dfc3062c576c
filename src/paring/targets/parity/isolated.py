"""A runtime in a process of its own: a file that crashes it, or on which it never ends, ends that process alone.

One process serves all files of this one, so that a runtime is imported once. It ends with this one.
"""

import atexit
import contextlib
import importlib
import json
import os
import selectors
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, cast

import numpy as np

from paring.core.errors import ParingError
from paring.core.target import Array, Runner, Target

PATIENCE = 300.0  # seconds for the answers of one file


class Crashed(Exception):
    """The process ended, or did not answer in time; the message says which."""


def run(target: Target, way: str, artifact: Path, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """What a file answers, batch first, by the outputs' names.

    Args:
        target: whose runtime is asked; its class is made anew, without arguments, in the process.
        way: its method that gives the runner: `open`, or `reference`.
        artifact: the file or folder.
        inputs: as `Runner.run` takes them.

    Raises:
        ParingError: the runtime refuses the file, or fails on it.
        Crashed: the process ended, or did not answer in time.
    """
    kind = type(target)
    with tempfile.TemporaryDirectory(prefix="paring-parity-") as folder:
        _save(Path(folder) / "inputs.npz", inputs)
        request = {"target": f"{kind.__module__}:{kind.__qualname__}", "way": way, "artifact": str(artifact.absolute())}
        answer = _process().ask({**request, "folder": folder})
        if "problem" in answer:
            raise ParingError(answer["problem"], answer["where"], answer["remedy"])
        with np.load(Path(folder) / "outputs.npz", allow_pickle=False) as found:
            return {name: found[name] for name in found.files}


class _Process:
    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
            start_new_session=True,  # Ctrl-C is for the process that asked
        )  # fmt: skip
        self._input, self._output = cast("IO[bytes]", self._process.stdin), cast("IO[bytes]", self._process.stdout)
        self.owner = os.getpid()

    @property
    def alive(self) -> bool:
        """Whether it can be asked, by this process."""
        return self.owner == os.getpid() and self._process.poll() is None

    def ask(self, request: Mapping[str, str]) -> Any:
        try:
            self._input.write(json.dumps(request).encode() + b"\n")
            self._input.flush()
        except OSError as error:
            raise Crashed(self._ended()) from error
        with selectors.DefaultSelector() as selector:
            selector.register(self._output, selectors.EVENT_READ)
            if not selector.select(PATIENCE):
                self.close()
                raise Crashed(f"the runtime gave no answer within {PATIENCE:.0f} s")
        line = self._output.readline()
        if not line.endswith(b"\n"):
            raise Crashed(self._ended())
        return json.loads(line)

    def close(self) -> None:
        if self.owner != os.getpid():
            return
        with contextlib.suppress(OSError):
            self._input.close()
        self._process.kill()
        self._process.wait()
        self._output.close()

    def _ended(self) -> str:
        code = self._process.wait()
        self.close()
        return f"the runtime crashed (signal {-code})" if code < 0 else f"the runtime's process ended with {code}"


_known: list[_Process] = []


def _process() -> _Process:
    if not _known or not _known[-1].alive:
        _known[:] = [_Process()]
    return _known[-1]


@atexit.register
def _close() -> None:
    for process in _known:
        process.close()


def _serve() -> None:
    """Answers requests, one a line, until the input ends."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a runtime prints is no answer
    for line in sys.stdin:
        answers.write(json.dumps(_answer(json.loads(line))).encode() + b"\n")
        answers.flush()


def _answer(request: Mapping[str, str]) -> dict[str, str]:
    module, _, name = request["target"].partition(":")
    folder = Path(request["folder"])
    try:
        made = getattr(importlib.import_module(module), name)()
        runner: Runner = getattr(made, request["way"])(Path(request["artifact"]))
        with np.load(folder / "inputs.npz", allow_pickle=False) as inputs:
            found = runner.run({name: inputs[name] for name in inputs.files})
    except ParingError as error:
        return {"problem": error.problem, "where": error.where, "remedy": error.remedy}
    except Exception as error:  # a runtime fails in any way
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        where = request["artifact"]
        return {"problem": f"the runtime fails on it: {reason}", "where": where, "remedy": "export it again"}
    _save(folder / "outputs.npz", found)
    return {}


def _save(path: Path, arrays: Mapping[str, Array]) -> None:
    named: Any = dict(arrays)
    np.savez(path, **named)


if __name__ == "__main__":
    _serve()
