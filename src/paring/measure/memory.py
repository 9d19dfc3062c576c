"""Peak memory of a fresh process that loads an artifact and runs it."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

from paring.core.errors import ParingError
from paring.core.target import one_sample

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
    command = [sys.executable, "-m", "paring.measure.memory", target, str(artifact), str(threads)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines()
        raise ParingError(
            f"a fresh process could not run it: {lines[-1] if lines else f'exit code {done.returncode}'}",
            str(artifact),
            "export it again; paring doctor checks the runtime",
        )
    return int(json.loads(done.stdout.splitlines()[-1]))


def _measure(target: str, artifact: str, threads: str) -> int:
    module, _, attribute = target.partition(":")
    runner = getattr(importlib.import_module(module), attribute)().open(Path(artifact), threads=int(threads))
    runner.set(one_sample(runner.inputs))
    for _ in range(_RUNS):
        runner.invoke()
    # of this process alone: getrusage would carry over what the parent held when it forked
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("the system does not tell peak memory")


if __name__ == "__main__":
    print(json.dumps(_measure(*sys.argv[1:])))
