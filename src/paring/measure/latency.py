"""Latency of one inference, artifacts interleaved (`paring.core.timing`)."""

from collections.abc import Callable, Mapping
from time import perf_counter_ns

from paring.core.processor import pinned
from paring.core.target import Runner, one_sample
from paring.core.timing import Timing, in_turn


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
        return in_turn({name: runner.invoke for name, runner in runners.items()}, seconds=seconds, clock_ns=clock_ns)
