"""Calls timed in turn, so that a change of the machine's speed hits all alike.

Standard library alone: devices run it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median, quantiles
from time import perf_counter_ns

WARM_UP = 3  # unrecorded calls before each block: the others have cooled the caches


@dataclass(frozen=True)
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

    @classmethod
    def of(cls, blocks: list[float], first: list[float], block: int) -> "Timing":
        """What blocks say.

        Args:
            blocks: the value of each, ms.
            first: those of the first artifact, taken in the same rounds.
            block: inferences in each.
        """
        ratios = [own / base for own, base in zip(blocks, first, strict=True)]
        low, mid, high = quantiles(blocks, n=4)
        ratio_low, ratio, ratio_high = quantiles(ratios, n=4)
        return cls(mid, (high - low) / 2, ratio, (ratio_high - ratio_low) / 2, len(blocks) * block)


def in_turn(
    calls: Mapping[str, Callable[[], object]], *, seconds: float = 4.0, clock_ns: Callable[[], int] = perf_counter_ns
) -> dict[str, Timing]:
    """Times calls in turn: A A A …, B B B …, A A A …; a block's value is its median.

    Args:
        calls: by name, an inference each; ratios are to the first.
        seconds: to spend, roughly, on all together.
        clock_ns: a clock, in nanoseconds.
    """
    slowest = max(_block(call, 3, clock_ns) for call in calls.values())
    block = max(1, min(10, int(20 / max(slowest, 1e-6))))  # about 20 ms
    round_ms = slowest * (block + WARM_UP) * len(calls)
    rounds = max(7, min(100, int(1000 * seconds / max(round_ms, 1e-6))))
    took: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            took[name].append(_block(call, block, clock_ns))
    first = next(iter(took.values()))
    return {name: Timing.of(times, first, block) for name, times in took.items()}


def _block(call: Callable[[], object], inferences: int, clock_ns: Callable[[], int]) -> float:
    """Median time of some inferences in a row, ms."""
    for _ in range(WARM_UP):
        call()
    times = []
    for _ in range(inferences):
        begin = clock_ns()
        call()
        times.append((clock_ns() - begin) / 1e6)
    return median(times)
