"""A fresh process that loads an artifact and runs it: what it holds at most, and how long its first user waits."""

import importlib
import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from time import perf_counter_ns
from typing import Any

from paring.core.errors import ParingError
from paring.core.target import Runner, one_sample

_RUNS = 3


def peak(target: str, artifact: Path, threads: int = 1) -> int:
    """Bytes resident at most, interpreter and runtime included.

    Args:
        target: `module:attribute` of the target's class.
        artifact: what to load.
        threads: that the runtime may use.

    Raises:
        ParingError: the process failed.
    """
    return int(_in_a_process("peak", target, artifact, threads))


def start(target: str, artifact: Path, threads: int = 1) -> tuple[float, float]:
    """Milliseconds to load the artifact and give the first answer, and those of the first inference alone.

    The runtime has been imported before, as an app has it in it, and the file is in the system's cache.

    Args:
        target: `module:attribute` of the target's class.
        artifact: what to load.
        threads: that the runtime may use.

    Raises:
        ParingError: the process failed.
    """
    cold, first = _in_a_process("start", target, artifact, threads)
    return cold, first


def _in_a_process(what: str, target: str, artifact: Path, threads: int) -> Any:
    command = [sys.executable, "-m", "paring.measure.fresh", what, target, str(artifact), str(threads)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines()
        raise ParingError(
            f"a fresh process could not run it: {lines[-1] if lines else f'exit code {done.returncode}'}",
            str(artifact),
            "export it again; paring doctor checks the runtime",
        )
    return json.loads(done.stdout.splitlines()[-1])


def _peak(opened: Callable[[], Runner]) -> int:
    runner = opened()
    runner.set(one_sample(runner.inputs))
    for _ in range(_RUNS):
        runner.invoke()
    # of this process alone: getrusage would carry over what the parent held when it forked
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("the system does not tell peak memory")


def _start(opened: Callable[[], Runner]) -> tuple[float, float]:
    sample = one_sample(opened().inputs)  # and with that the runtime is imported
    begin = perf_counter_ns()
    runner = opened()
    runner.set(sample)
    loaded = perf_counter_ns()
    runner.invoke()
    answered = perf_counter_ns()
    return (answered - begin) / 1e6, (answered - loaded) / 1e6


_WHAT: Mapping[str, Callable[[Callable[[], Runner]], object]] = {"peak": _peak, "start": _start}


def _main(what: str, target: str, artifact: str, threads: str) -> None:
    module, _, attribute = target.partition(":")
    found = getattr(importlib.import_module(module), attribute)()
    print(json.dumps(_WHAT[what](lambda: found.open(Path(artifact), threads=int(threads)))))


if __name__ == "__main__":
    _main(*sys.argv[1:])
