"""What starting costs: CPU seconds of `import paring` and `paring --help`, in fresh processes, beside bare Python."""

import os
import subprocess
import sys
from statistics import median, quantiles

from table import write

RUNS = 15
COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "import paring": [sys.executable, "-c", "import paring"],
    "paring --help": [sys.executable, "-c", "from paring.cli import main; main()", "--help"],
}


def cpu_seconds(command: list[str]) -> float:
    """User and system seconds of a process."""
    before = os.times()
    subprocess.run(command, check=True, capture_output=True)
    after = os.times()
    return after.children_user - before.children_user + after.children_system - before.children_system


def main() -> None:
    """Runs the commands in turn and writes `results/start.csv`."""
    taken: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(RUNS):
        for name, command in COMMANDS.items():
            taken[name].append(cpu_seconds(command))
    rows = []
    for name, seconds in taken.items():
        low, _, high = quantiles(seconds, n=4)
        rows.append({"who": name, "metric": "cpu time", "value": f"{median(seconds):.3f}", "unit": "s",
                     "spread": f"{(high - low) / 2:.3f}", "samples": RUNS})  # fmt: skip
    write("start", rows)


if __name__ == "__main__":
    main()
