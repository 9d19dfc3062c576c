"""The processor that runs a measurement, and staying on its cores. Standard library alone: devices run it."""

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

# flag of Linux -> what integer kernels can use, the best first: the same name may have any of them in a virtual machine
_INSTRUCTIONS = {
    "amx_int8": "AMX", "avx512_vnni": "AVX-512 VNNI", "avx_vnni": "AVX-VNNI", "avx512bw": "AVX-512", "avx2": "AVX2",
    "i8mm": "I8MM", "asimddp": "dot product", "asimd": "NEON",
}  # fmt: skip
_X86 = {"x86_64", "amd64", "i386", "i686", "x86"}
_BOARD = Path("/proc/device-tree/model")  # ARM boards tell their name here where cpuinfo does not


def cpu(described: Path = Path("/proc/cpuinfo"), board: Path = _BOARD) -> str:
    """The processor's name, and the best instructions that it has for int8: these decide how fast quantized files run.

    Args:
        described: what Linux says of it.
        board: where Linux tells the name of the board.
    """
    told: dict[str, str] = {}
    with suppress(OSError):
        for line in described.read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition(":")
            told.setdefault(key.strip(), value.strip())
    name = told.get("model name") or told.get("Model") or told.get("Hardware") or _board(board)
    name = name or platform.processor() or platform.machine()
    flags = (told.get("flags") or told.get("Features") or "").split()
    best = next((one for flag, one in _INSTRUCTIONS.items() if flag in flags), "")
    return f"{name} ({best})" if best else name


def saturates(processor: str, machine: str | None = None) -> bool:
    """Whether sums of two products of uint8 and int8 saturate on a processor, as `cpu` tells it.

    x86 without VNNI or AMX has but the instruction PMADDUBSW, which adds them in 16 bits: Intel 64 and IA-32
    Architectures Software Developer's Manual, volume 2, PMADDUBSW.

    Args:
        processor: where it tells no instructions, the machine decides.
        machine: kind of processor, as `platform.machine` has it; None for this one's.
    """
    if processor.endswith(tuple(f"({one})" for one in _INSTRUCTIONS.values())):
        return processor.endswith(("(AVX2)", "(AVX-512)"))
    return (machine or platform.machine()).lower() in _X86


def device(processor: str, runtime: str, threads: int) -> str:
    """The `device` of a record: processor, runtime and threads."""
    return f"{processor} · {runtime} · {threads} thread{'s' if threads > 1 else ''}"


@contextmanager
def pinned(threads: int) -> Iterator[None]:
    """Keeps this thread on as many cores as it may use, so that it is not moved about; undone afterwards."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(allowed)[-threads:])
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def _board(path: Path) -> str:
    with suppress(OSError):
        return path.read_text(encoding="utf-8").strip("\0\n ")
    return ""
