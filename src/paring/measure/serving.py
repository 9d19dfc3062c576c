"""What who serves an artifact wants to know: how long it takes to start, and what threads and batches win."""

import os
from collections.abc import Sequence
from pathlib import Path
from statistics import median, quantiles
from time import perf_counter_ns

import numpy as np

from paring.core.processor import pinned
from paring.core.record import Record
from paring.core.target import Runner, Target, one_sample
from paring.measure import fresh, machine
from paring.measure.latency import interleaved

STARTS = 7
BATCHES = (1, 4, 16)
_SECONDS = 1.0  # for each number of threads, and for each size of a batch
_SOURCE = "paring.measure.serving.serving"


def serving(
    target: Target,
    artifact: Path,
    stage: str,
    threads: int = 1,
    *,
    starts: int = STARTS,
    batches: Sequence[int] = BATCHES,
) -> list[Record]:
    """Cold start, first inference, latency by threads, time per sample by batch.

    `cold_start` and `first_inference` (ms) are medians over fresh processes. `latency_N_threads` (ms) stands for 1, 2,
    4, … threads up to the cores that this process may use, timed in turns. `sample_time_in_N` (ms) is the time for each
    sample when so many are handed to the runner at once, copies included: whether batches pay.

    Args:
        target: whose artifact.
        artifact: what is served.
        stage: of the records.
        threads: for all but the latency by threads.
        starts: fresh processes, 2 at least.
        batches: sizes.

    Raises:
        ParingError: a fresh process failed.
    """
    return [
        *_starts(target, artifact, stage, threads, starts),
        *_threads(target, artifact, stage),
        *_batches(target.open(artifact, threads), stage, batches),
    ]


def _starts(target: Target, artifact: Path, stage: str, threads: int, starts: int) -> list[Record]:
    kind = f"{type(target).__module__}:{type(target).__qualname__}"
    took = [fresh.start(kind, artifact, threads) for _ in range(starts)]
    device = machine.on(target.name, threads)
    return [
        _record(stage, metric, times, starts, device)
        for metric, times in zip(("cold_start", "first_inference"), zip(*took, strict=True), strict=True)
    ]


def _threads(target: Target, artifact: Path, stage: str) -> list[Record]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    counts = sorted({2**power for power in range(cores.bit_length()) if 2**power <= cores} | {cores})
    runners = {str(count): target.open(artifact, count) for count in counts}
    found = interleaved(runners, seconds=_SECONDS * len(runners))
    return [
        Record(
            stage=stage, metric=f"latency_{count}_thread{'s' if count > 1 else ''}", value=found[str(count)].median,
            unit="ms", spread=found[str(count)].spread, samples=found[str(count)].samples,
            device=machine.on(runners[str(count)].runtime, count), source=_SOURCE,
        )
        for count in counts
    ]  # fmt: skip


def _batches(runner: Runner, stage: str, sizes: Sequence[int]) -> list[Record]:
    sample, device = one_sample(runner.inputs), machine.on(runner.runtime, runner.threads)
    records = []
    with pinned(runner.threads):
        for size in sizes:
            batch = {name: np.repeat(array, size, axis=0) for name, array in sample.items()}
            runner.run(batch)
            times: list[float] = []
            while len(times) < 3 or sum(times) * size < 1000 * _SECONDS:
                begin = perf_counter_ns()
                runner.run(batch)
                times.append((perf_counter_ns() - begin) / 1e6 / size)
            records.append(_record(stage, f"sample_time_in_{size}", times, len(times), device))
    return records


def _record(stage: str, metric: str, times: Sequence[float], samples: int, device: str) -> Record:
    low, _, high = quantiles(times, n=4)
    return Record(
        stage=stage, metric=metric, value=median(times), unit="ms", spread=(high - low) / 2, samples=samples,
        device=device, source=_SOURCE,
    )  # fmt: skip
