"""What the way to a device costs, and whether emulated arm64 answers as x86 does.

The SSH route against a fresh process on this machine: whole measurements of MobileNetV2-224 in LiteRT, in turn, on a
real OpenSSH server on loopback. Emulated arm64: every code of an int8 file's answers, with each set of kernels.

    python benchmarks/reach.py [INT8.tflite ...]
"""

import sys
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from time import perf_counter

import numpy as np
from table import write

from paring import load, reaching
from paring.core.target import one_sample
from paring.devices import arm64
from paring.devices.reach import Options
from paring.targets import of_file
from paring.targets.litert import LiteRT
from paring.testing.sshd import Server

PAIRS = 7
SECONDS = 1.0  # of timing in each measurement
SAMPLES = 5
TINY = Path(__file__).parents[1] / "tests/devices/files/int8.tflite"


def ways(folder: Path) -> list[dict[str, object]]:
    """Seconds of a whole measurement, locally and over SSH, and what SSH adds."""
    file = LiteRT().export(load.open("zoo:mobilenet_v2", shape=(3, 224, 224)), folder / "mobilenet_v2.tflite")
    took: dict[str, list[float]] = {"local": [], "ssh": []}
    with Server() as server:
        options = Options(server.identity, server.known_hosts, sys.executable)
        for _ in range(PAIRS + 1):
            for way, address, how in (("local", "local", Options()), ("ssh", server.address, options)):
                begin = perf_counter()
                reaching.Place(address, how).bench({file.name: file}, seconds=SECONDS)
                took[way].append(perf_counter() - begin)
    added = [ssh - local for ssh, local in zip(took["ssh"][1:], took["local"][1:], strict=True)]
    rows = {"measured locally": took["local"][1:], "measured over ssh": took["ssh"][1:], "ssh adds": added}
    return [_row("MobileNetV2-224 float, 14 MB", name, values) for name, values in rows.items()]


def emulated(file: Path) -> list[dict[str, object]]:
    """How many codes of an int8 file's answers differ between x86 and emulated arm64."""
    arm64.prepare()
    rows: list[dict[str, object]] = []
    inputs = one_sample(of_file(file).open(file).inputs)
    chance = np.random.default_rng(0)
    images = {
        name: chance.normal(size=(SAMPLES, *array.shape[1:])).astype(np.float32) for name, array in inputs.items()
    }
    for kernels, called in (("", "XNNPACK"), ("reference", "reference kernels")):
        here, there = (
            next(iter(reaching.answers(file, images, address, kernels=kernels).values()))
            for address in ("local", "emulated-arm64")
        )
        rows.append(
            {"what": f"{file.name}, {called}", "metric": "answers of emulated arm64 that differ from x86",
             "value": int((here != there).sum()), "unit": f"of {here.size}", "spread": "", "samples": SAMPLES}
        )  # fmt: skip
    return rows


def _row(what: str, metric: str, seconds: list[float]) -> dict[str, object]:
    low, _, high = quantiles(seconds, n=4)
    return {"what": what, "metric": metric, "value": f"{median(seconds):.2f}", "unit": "s",
            "spread": f"{(high - low) / 2:.2f}", "samples": len(seconds)}  # fmt: skip


def main() -> None:
    """Measures and writes `results/reach.csv`."""
    with TemporaryDirectory() as folder:
        rows = ways(Path(folder))
    for file in [TINY, *map(Path, sys.argv[1:])]:
        rows += emulated(file)
    write("reach", rows)


if __name__ == "__main__":
    main()
