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
    "numpy",
)


def cpu() -> str:
    """The processor's name."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith(("model name", "Model")):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


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
