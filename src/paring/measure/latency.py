"""Latency of one inference, artifacts interleaved, so that a change of the machine's speed hits all alike."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median, quantiles
from time import perf_counter_ns

from paring.core.target import Runner, one_sample
from paring.measure.machine import pinned

WARM_UP = 3  # unrecorded inferences before each block: the other artifacts have cooled the caches


@dataclass(frozen=True, slots=True)
class Timing:
    """How long an artifact takes.

    Attributes:
        median: of the blocks' medians, ms.
        spread: half their interquartile range, ms.
        ratio: median of block by block ratios to the first artifact.
        ratio_spread: half their interquartile range.
        samples: inferences timed.
    """

    median: float
    spread: float
    ratio: float
    ratio_spread: float
    samples: int


def interleaved(
    runners: Mapping[str, Runner],
    *,
    seconds: float = 4.0,
    clock_ns: Callable[[], int] = perf_counter_ns,
) -> dict[str, Timing]:
    """Times artifacts in turn: A A A …, B B B …, A A A …; a block's value is its median.

    Args:
        runners: by name; ratios are to the first.
        seconds: to spend, roughly, on all together.
        clock_ns: a clock, in nanoseconds.
    """
    for runner in runners.values():
        runner.set(one_sample(runner.inputs))
    with pinned(max(runner.threads for runner in runners.values())):
        slowest = max(_block(runner, 3, clock_ns) for runner in runners.values())
        block = max(1, min(10, int(20 / max(slowest, 1e-6))))  # about 20 ms
        round_ms = slowest * (block + WARM_UP) * len(runners)
        rounds = max(7, min(100, int(1000 * seconds / max(round_ms, 1e-6))))
        took: dict[str, list[float]] = {name: [] for name in runners}
        for _ in range(rounds):
            for name, runner in runners.items():
                took[name].append(_block(runner, block, clock_ns))
    first = next(iter(took.values()))
    return {name: _timing(times, first, block) for name, times in took.items()}


def _block(runner: Runner, inferences: int, clock_ns: Callable[[], int]) -> float:
    """Median time of some inferences in a row, ms."""
    for _ in range(WARM_UP):
        runner.invoke()
    times = []
    for _ in range(inferences):
        begin = clock_ns()
        runner.invoke()
        times.append((clock_ns() - begin) / 1e6)
    return median(times)


def _timing(times: list[float], first: list[float], block: int) -> Timing:
    ratios = [own / base for own, base in zip(times, first, strict=True)]
    low, mid, high = quantiles(times, n=4)
    ratio_low, ratio, ratio_high = quantiles(ratios, n=4)
    return Timing(mid, (high - low) / 2, ratio, (ratio_high - ratio_low) / 2, len(times) * block)
