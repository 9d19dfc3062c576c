"""`edgetpu_compiler`, run where it is on the PATH, and what its log says."""

import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from paring.core.errors import ParingError

COMMAND = "edgetpu_compiler"
MAPPED = "Mapped to Edge TPU"
_TIMEOUT = 600  # seconds
_UNITS = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_VERSION = re.compile(r"Edge TPU Compiler version (\S+)")
_ROW = re.compile(r"^([A-Z][A-Z0-9_]*) +(\d+) +(\S.*?) *$", re.MULTILINE)
_SIZE = re.compile(r"^(On|Off)-chip memory used for .*model parameters: *([\d.]+)(\w+)$", re.MULTILINE)


@dataclass(frozen=True)
class Log:
    """What the compiler says of a file.

    Attributes:
        version: of the compiler.
        operators: (operator, status) -> how many.
        on_chip: bytes of parameters that stay on the chip; None where it is not said.
        off_chip: bytes that are fetched at each inference; likewise.
    """

    version: str
    operators: Mapping[tuple[str, str], int]
    on_chip: int | None = None
    off_chip: int | None = None

    @property
    def mapped(self) -> int:
        """How many operators the Edge TPU runs."""
        return sum(count for (_, status), count in self.operators.items() if status == MAPPED)

    @property
    def left(self) -> Mapping[tuple[str, str], int]:
        """(operator, why) -> how many the processor runs."""
        return {key: count for key, count in self.operators.items() if key[1] != MAPPED}


def parse(text: str) -> Log:
    """Reads what the compiler prints with `--show_operations`, or its log file.

    Raises:
        ValueError: it is neither.
    """
    version, rows = _VERSION.search(text), _ROW.findall(text)
    if version is None or not rows:
        raise ValueError("no log of the Edge TPU compiler")
    operators: dict[tuple[str, str], int] = {}
    for name, count, status in rows:
        operators[name, status] = operators.get((name, status), 0) + int(count)
    sizes = {key: int(float(value) * _UNITS[unit]) for key, value, unit in _SIZE.findall(text)}
    return Log(version[1], operators, sizes.get("On"), sizes.get("Off"))


def there() -> bool:
    """Whether it can be run."""
    return shutil.which(COMMAND) is not None


def compiled(artifact: Path) -> tuple[bytes, str]:
    """The file that the compiler makes, and what it prints.

    Raises:
        ParingError: it refuses the file.
    """
    with TemporaryDirectory() as folder:
        source = Path(folder) / "model.tflite"
        shutil.copyfile(artifact, source)
        command = [COMMAND, "--show_operations", "--out_dir", folder, str(source)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT, check=False)
        made = Path(folder) / "model_edgetpu.tflite"
        if done.returncode or not made.is_file():
            said = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
            raise ParingError(
                f"{COMMAND} refuses it: {said[-1] if said else 'it said nothing'}", str(artifact),
                "see coral.ai/docs/edgetpu/compiler",
            )  # fmt: skip
        return made.read_bytes(), done.stdout
