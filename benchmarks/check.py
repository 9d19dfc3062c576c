"""What `paring check` takes on MobileNetV2 with images of 224×224, in fresh processes: wall clock and CPU seconds.

The first check of a network asks LiteRT's converter which operators it knows, and remembers; both kinds are measured.
"""

import os
import subprocess
import sys
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from time import perf_counter

from table import write

RUNS = 5
MODEL = "zoo:mobilenet_v2"
DEVICES = ("raspberry-pi-4", "arduino-nano-33-ble-sense")


FIRST = ", nothing remembered"


def taken(device: str, cache: str) -> dict[str, float]:
    """Seconds of one check, start included, with that folder for what is remembered; it must say what it found."""
    command = [sys.executable, "-c", "from paring.cli import main; main()", "check", MODEL, "--device", device]
    before, start = os.times(), perf_counter()
    environment = {**os.environ, "XDG_CACHE_HOME": cache}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    wall, after = perf_counter() - start, os.times()
    assert "memory: " in done.stdout, done.stderr
    used = after.children_user - before.children_user + after.children_system - before.children_system
    return {"wall clock": wall, "cpu time": used}


def main() -> None:
    """Checks in turn and writes `results/check.csv`."""
    runs: dict[str, list[dict[str, float]]] = {}
    with TemporaryDirectory() as kept:
        for device in DEVICES:
            taken(device, kept)
        for _ in range(RUNS):
            for device in DEVICES:
                with TemporaryDirectory() as fresh:
                    runs.setdefault(device + FIRST, []).append(taken(device, fresh))
                runs.setdefault(device, []).append(taken(device, kept))
    rows = []
    for who, every in runs.items():
        for metric in ("wall clock", "cpu time"):
            seconds = [one[metric] for one in every]
            low, _, high = quantiles(seconds, n=4)
            rows.append({"who": f"paring check {MODEL} --device {who}", "metric": metric,
                         "value": f"{median(seconds):.2f}", "unit": "s", "spread": f"{(high - low) / 2:.2f}",
                         "samples": RUNS, "fastest": f"{min(seconds):.2f}"})  # fmt: skip
    write("check", rows)


if __name__ == "__main__":
    main()
