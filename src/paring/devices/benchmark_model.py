"""An Android device without Python: LiteRT's `benchmark_model` measures there.

https://ai.google.dev/edge/litert/models/measurement describes the tool and where to get it. It prints

    count=50 first=266601 curr=266931 min=265837 max=268116 avg=266473 std=419
    Inference timings in us: Init: 20283, First inference: 339304, Warmup (avg): 302814, Inference (avg): 266473
    Overall peak memory footprint (MB) via periodic monitoring: 93.2383

newer ones with `median=` in the first line.
"""

from __future__ import annotations

import re
import secrets
import shlex
from collections.abc import Mapping
from contextlib import suppress
from typing import Self

from paring.core.errors import ParingError
from paring.core.processor import device
from paring.core.target import Array
from paring.core.timing import Timing
from paring.devices.adb import ADB, FOLDER
from paring.devices.reach import Measured, Work

_ROUNDS = 7  # blocks of each file
_SLOWEST = 300.0  # seconds for one call
_RUNS = re.compile(r"count=(\d+) .*?avg=([\d.e+]+)(?:.*?median=([\d.e+]+))?")
_AVERAGE = re.compile(r"Inference timings in us: .*Inference \(avg\): ([\d.e+]+)")
_PEAK = re.compile(r"Overall peak memory footprint \(MB\) via periodic monitoring: ([\d.e+]+)")


class BenchmarkModel:
    """Contract: `paring.devices.reach.Reach`, but that it gives no answers.

    Args:
        adb: the device.
        binary: its path there.
        cores: to stay on.
    """

    emulated = False

    def __init__(self, adb: ADB, binary: str, cores: tuple[int, ...]) -> None:
        self._adb, self._binary = adb, binary
        self._taskset = f"taskset {sum(1 << core for core in cores):x} " if cores else ""
        self._folder = f"{FOLDER}/paring-{secrets.token_hex(6)}"

    def __enter__(self) -> Self:
        # what was left by a process that was killed goes first
        self._adb.shell(f"find {FOLDER} -maxdepth 1 -name 'paring-*' -mmin +60 -exec rm -rf {{}} +")
        status, said = self._adb.shell(f"test -x {shlex.quote(self._binary)} && mkdir -m 700 {self._folder}")
        if status != 0:
            raise ParingError(
                f"there is no program {self._binary} on it, or no folder could be made: {said.strip() or 'no reason'}",
                self._adb.where,
                f"adb push benchmark_model {FOLDER} && adb shell chmod +x {FOLDER}/benchmark_model, then "
                f"--benchmark-model {FOLDER}/benchmark_model",
            )
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(ParingError):  # the next one clears it away
            self._adb.shell(f"rm -rf {self._folder}")

    def run(self, work: Work, threads: int = 1) -> dict[str, Array]:
        """Refuses: the tool keeps answers to itself."""
        raise ParingError("benchmark_model gives no answers", self._adb.where, "answers need Python on the device")

    def bench(self, work: Mapping[str, Work], *, threads: int = 1, seconds: float = 4.0) -> dict[str, Measured]:
        """Runs the tool on each file in turn; see `Reach.bench`. Inputs are the tool's own, random."""
        there = {name: f"{self._folder}/{i}.tflite" for i, name in enumerate(work)}
        for name, one in work.items():
            if one.artifact.suffix != ".tflite":
                raise ParingError("benchmark_model takes .tflite files alone", str(one.artifact), "leave it out")
            self._adb.push(one.artifact, there[name])
        blocks: dict[str, list[float]] = {name: [] for name in work}
        peaks: dict[str, int | None] = {}
        samples = 0
        for _ in range(_ROUNDS):
            for name in work:
                milliseconds, count, peaks[name] = self._call(name, there[name], threads, seconds / _ROUNDS / len(work))
                blocks[name].append(milliseconds)
                samples += count
        first = next(iter(blocks.values()))
        where = device(self._adb.cpu() or "Android", "LiteRT benchmark_model", threads)
        per_block = max(1, samples // (_ROUNDS * len(work)))
        return {name: Measured(Timing.of(took, first, per_block), peaks[name], where) for name, took in blocks.items()}

    def _call(self, name: str, path: str, threads: int, seconds: float) -> tuple[float, int, int | None]:
        """(time of an inference in ms, inferences, peak memory in bytes)."""
        command = (
            f"{self._taskset}{shlex.quote(self._binary)} --graph={path} --num_threads={threads} --num_runs=5 "
            f"--min_secs={seconds:.3f} --report_peak_memory_footprint=true"
        )
        status, said = self._adb.shell(command, _SLOWEST)
        runs, average, peak = _RUNS.findall(said), _AVERAGE.search(said), _PEAK.search(said)
        if status != 0 or average is None:
            last = (said.strip().splitlines() or [f"it ended with {status}"])[-1]
            raise ParingError(f"benchmark_model failed: {last}", f"{name} on {self._adb.where}", "export it again")
        count, _, middle = runs[-1] if runs else ("1", "", "")
        return float(middle or average[1]) / 1000, int(count), int(float(peak[1]) * 1e6) if peak else None
