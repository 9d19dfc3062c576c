"""What the measuring runs on."""

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from paring.core.model import Json

LIBRARIES = (
    "torch",
    "torchao",
    "executorch",
    "litert-torch",
    "litert-converter",
    "ai-edge-litert",
    "onnxruntime",
    "onnxscript",
    "tflite-micro",
    "ethos-u-vela",
    "numpy",
)


# flag of Linux -> what integer kernels can use, the best first: the same name may have any of them in a virtual machine
_INSTRUCTIONS = {
    "amx_int8": "AMX", "avx512_vnni": "AVX-512 VNNI", "avx_vnni": "AVX-VNNI", "avx512bw": "AVX-512", "avx2": "AVX2",
    "i8mm": "I8MM", "asimddp": "dot product", "asimd": "NEON",
}  # fmt: skip


def cpu(described: Path = Path("/proc/cpuinfo")) -> str:
    """The processor's name, and the best instructions that it has for int8: these decide how fast quantized files run.

    Args:
        described: what Linux says of it.
    """
    told: dict[str, str] = {}
    try:
        for line in described.read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition(":")
            told.setdefault(key.strip(), value.strip())
    except OSError:
        pass
    name = told.get("model name") or told.get("Model") or platform.processor() or platform.machine()
    flags = (told.get("flags") or told.get("Features") or "").split()
    best = next((one for flag, one in _INSTRUCTIONS.items() if flag in flags), "")
    return f"{name} ({best})" if best else name


def versions() -> dict[str, str]:
    """Installed versions of the libraries that results depend on."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def environment() -> dict[str, Json]:
    """Processor, cores, system, Python and libraries."""
    return {
        "cpu": cpu(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "libraries": versions(),
    }


def on(runtime: str, threads: int) -> str:
    """The `device` of a record: processor, runtime and threads."""
    return f"{cpu()} · {runtime} · {threads} thread{'s' if threads > 1 else ''}"


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
