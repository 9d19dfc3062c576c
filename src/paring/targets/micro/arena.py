"""How many bytes of memory a file needs in TensorFlow Lite Micro's interpreter: found by trying.

    python -m paring.targets.micro.arena FILE

prints the number. Every try is a process of its own, since the interpreter crashes on some arenas that are too small.
Its bookkeeping holds pointers of the machine that it runs on: of 8 bytes here, of 4 on a microcontroller, which
therefore needs somewhat less.
"""

import os
import subprocess
import sys
from pathlib import Path

from paring.core.errors import ParingError

STEP = 16  # bytes, to which arenas are aligned
_LARGEST = 2**28
_TIMEOUT = 600  # seconds


def size(artifact: Path) -> int:
    """Smallest arena in which the interpreter loads the file and runs it, a multiple of 16 bytes.

    Raises:
        ParingError: it runs in none.
    """
    command = [sys.executable, "-m", __name__, str(artifact)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT, check=False)
    if done.returncode:
        said = done.stderr.strip().splitlines()
        raise ParingError(
            f"TensorFlow Lite Micro cannot run it: {said[-1] if said else 'it said nothing'}", str(artifact),
            "export it again, to micro",
        )  # fmt: skip
    return int(done.stdout)


def _search(content: bytes) -> int | None:
    """Steps grow until the file fits, then shrink by halves."""
    high = 64 * STEP
    while not _fits(content, high):
        high *= 2
        if high > max(_LARGEST, len(content)):
            return None
    low = high // 2
    while high - low > STEP:
        middle = (low + high) // 2 // STEP * STEP
        low, high = (low, middle) if _fits(content, middle) else (middle, high)
    return high


def _fits(content: bytes, arena: int) -> bool:
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1] == 0
    try:  # in the child, which must not return
        from tflite_micro.python.tflite_micro import runtime

        runtime.Interpreter.from_bytes(content, arena_size=arena).invoke()
        os._exit(0)
    except BaseException:
        os._exit(1)


def _main(file: str) -> int:
    from tflite_micro.python.tflite_micro import runtime  # noqa: F401  # once, for all children

    found = _search(Path(file).read_bytes())
    if found is None:
        sys.stderr.write("it fits no arena\n")
        return 1
    sys.stdout.write(f"{found}\n")
    return 0


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1]))
