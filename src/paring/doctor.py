"""What works on this machine: Python, packages, runtimes, data, disk."""

import importlib
import platform
import shutil
import sys
from dataclasses import dataclass
from enum import Enum
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from paring.core.errors import ParingError
from paring.core.quiet import quiet
from paring.core.target import Target, why_not_run
from paring.data import DATASETS
from paring.data import open as open_data
from paring.measure import machine
from paring.targets import TARGETS

# extra -> (distribution, module) of what it brings
EXTRAS: dict[str, tuple[tuple[str, str], ...]] = {
    "core": (("torch", "torch"), ("safetensors", "safetensors")),
    "train": (("accelerate", "accelerate"),),
    "prune": (("scipy", "scipy.optimize"),),
    "factorize": (("tensorly", "tensorly.decomposition"), ("scipy", "scipy.optimize")),
    "images": (("pillow", "PIL.Image"),),
    "digits": (("scikit-learn", "sklearn"),),
    "quantize": (("torchao", "torchao.quantization.pt2e.quantize_pt2e"),),
    "coreml": (("coremltools", "coremltools"),),
    "ethosu": (("ethos-u-vela", "ethosu.vela"),),
    "executorch": (("executorch", "executorch.extension.pybindings.portable_lib"),),
    "litert": (("litert-torch", "litert_torch"), ("ai-edge-litert", "ai_edge_litert.interpreter")),
    "micro": (("tflite-micro", "tflite_micro.python.tflite_micro.runtime"),),
    "onnxruntime": (("onnxruntime", "onnxruntime"), ("onnxscript", "onnxscript"), ("onnx", "onnx")),
    "openvino": (("openvino", "paring.targets.openvino.library"),),
    "report": (("plotly", "plotly"),),
}
_FREE_GIB = 2.0  # a run keeps every stage and its files


class State(Enum):
    """How a finding is to be taken."""

    GOOD = "ok"
    ABSENT = "--"
    BROKEN = "!!"

    @property
    def mark(self) -> str:
        """Two characters for the terminal."""
        return self.value


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    subject: str
    state: State
    told: str


def examine() -> list[Finding]:
    """Looks at everything; nothing is changed."""
    return [_python(), Finding("processor", State.GOOD, machine.cpu()), *_packages(), *_targets(), _fashion(), _disk()]


def _python() -> Finding:
    good = sys.version_info >= (3, 11)
    return Finding("python", State.GOOD if good else State.BROKEN, platform.python_version())


def _packages() -> list[Finding]:
    found = []
    for extra, packages in EXTRAS.items():
        for distribution, module in packages:
            subject = f"{extra}: {distribution}"
            try:
                installed = version(distribution)
            except PackageNotFoundError:
                found.append(Finding(subject, State.ABSENT, f"not installed: pip install 'paring[{extra}]'"))
                continue
            try:
                with quiet():
                    importlib.import_module(module)
                found.append(Finding(subject, State.GOOD, installed))
            except Exception as error:  # a broken package can fail in any way
                found.append(Finding(subject, State.BROKEN, f"{installed} is installed, but fails: {error}"))
    return found


def _targets() -> list[Finding]:
    """Runs a tiny network through each target whose packages are there."""
    found = []
    for name in TARGETS.names():
        try:
            from paring.testing.models import round_trip

            target = TARGETS.load(name)()
            found.append(Finding(f"target {name}", *_trip(target, round_trip(target))))
        except ImportError:
            found.append(Finding(f"target {name}", State.ABSENT, f"pip install 'paring[{TARGETS.extra_of(name)}]'"))
        except Exception as error:  # likewise
            found.append(Finding(f"target {name}", State.BROKEN, str(error)))
    return found


def _trip(target: Target, trip: tuple[float, float] | None) -> tuple[State, str]:
    """How the way of the tiny network went."""
    if trip is None:
        return State.GOOD, f"exports; {why_not_run(target)}"
    difference, allowed = trip
    state = State.GOOD if difference < allowed else State.BROKEN
    return state, f"exports and runs, largest difference {difference:.1e}"


def _fashion() -> Finding:
    try:
        task = open_data("fashion-mnist")
    except ParingError as error:
        return Finding("data fashion-mnist", State.ABSENT, f"{error.problem}; {error.remedy}")
    others = ", ".join(name for name in DATASETS.names() if name != "fashion-mnist")
    return Finding("data fashion-mnist", State.GOOD, f"{task.size('test')} test images; also known: {others}")


def _disk() -> Finding:
    free = shutil.disk_usage(Path.cwd()).free / 2**30
    return Finding("disk", State.GOOD if free >= _FREE_GIB else State.BROKEN, f"{free:.1f} GiB free here")
