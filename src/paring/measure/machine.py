"""What the measuring runs on."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version

from paring.core.model import Json
from paring.core.processor import cpu, device

__all__ = ["LIBRARIES", "cpu", "environment", "on", "versions"]

LIBRARIES = (
    "torch",
    "torchao",
    "executorch",
    "litert-torch",
    "litert-converter",
    "ai-edge-litert",
    "onnxruntime",
    "onnxscript",
    "openvino",
    "tflite-micro",
    "ethos-u-vela",
    "coremltools",
    "numpy",
)


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
    return device(cpu(), runtime, threads)
