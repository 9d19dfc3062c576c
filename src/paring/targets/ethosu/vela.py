"""Vela, Arm's compiler for Ethos-U, as a subprocess: its native code writes past Python's standard output."""

import csv
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

from paring.core.errors import ParingError

_TIMEOUT = 600  # seconds


@dataclass(frozen=True)
class Compiled:
    """What Vela made of a file.

    Attributes:
        content: the file for the NPU.
        layers: the rows of Vela's table of layers (`--verbose-performance`), by its headings.
        summary: the row of its summary.
    """

    content: bytes
    layers: tuple[Mapping[str, str], ...]
    summary: Mapping[str, str]


def name() -> str:
    """Name and version."""
    return f"Vela {version('ethos-u-vela')}"


def compiled(content: bytes, accelerator: str, config: str, system: str, memory: str) -> Compiled:
    """Compiles a full-int8 `.tflite`.

    Args:
        content: the file.
        accelerator: as Vela calls it, e.g. `ethos-u55-128`.
        config: configuration file, a path or one of Vela's own.
        system: section of Vela's configuration that gives clock and bandwidths.
        memory: section that says where weights and activations lie.

    Raises:
        ParingError: Vela refuses it, or does not know the configuration.
    """
    with TemporaryDirectory() as folder:
        source, out = Path(folder) / "model.tflite", Path(folder) / "out"
        source.write_bytes(content)
        command = [
            sys.executable, "-m", "ethosu.vela", str(source), "--output-dir", str(out), "--verbose-performance",
            "--accelerator-config", accelerator, "--config", config, "--system-config", system, "--memory-mode", memory,
        ]  # fmt: skip
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=_TIMEOUT, check=False)
        made = out / "model_vela.tflite"
        if done.returncode or not made.is_file():
            raise ParingError(
                f"Vela refuses it: {_reason(done.stdout + done.stderr)}", "export to ethosu",
                "check accelerator, config, system_config and memory_mode",
            )  # fmt: skip
        (summary,) = _rows(next(out.glob("model_summary_*.csv")))
        return Compiled(made.read_bytes(), _rows(out / "model_per-layer.csv"), summary)


def _rows(file: Path) -> tuple[Mapping[str, str], ...]:
    with file.open(encoding="utf-8", newline="") as lines:
        return tuple(csv.DictReader(lines))


def _reason(said: str) -> str:
    """Its last words, of which the first name a class of Python's."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return lines[-1].rpartition("Error: ")[2].strip("'") if lines else "it said nothing"
