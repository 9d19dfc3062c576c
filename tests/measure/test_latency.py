"""Latency is taken in turn, and says what its clock says."""

from collections.abc import Mapping
from itertools import pairwise

import pytest

from paring.core.model import TensorSpec
from paring.core.target import Array
from paring.core.timing import WARM_UP
from paring.measure.latency import interleaved


class Clock:
    """Time passes only while a runner works."""

    now = 0

    def __call__(self) -> int:
        return self.now


class FakeRunner:
    inputs = (TensorSpec("x", ("batch", 2)),)
    outputs = inputs
    runtime = "fake"
    threads = 1

    def __init__(self, clock: Clock, log: list[str], name: str, times_ms: list[float]) -> None:
        self.clock, self.log, self.name, self.times, self.calls, self.fed = clock, log, name, times_ms, 0, False

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        raise AssertionError("latency must not measure the copying of inputs")

    def set(self, inputs: Mapping[str, Array]) -> None:
        self.fed = inputs["x"].shape == (1, 2)

    def invoke(self) -> None:
        assert self.fed
        self.clock.now += int(1e6 * self.times[self.calls % len(self.times)])
        self.calls += 1
        self.log.append(self.name)


def test_medians_and_ratios_are_those_of_the_clock() -> None:
    clock, log = Clock(), list[str]()
    runners = {"slow": FakeRunner(clock, log, "slow", [4.0]), "fast": FakeRunner(clock, log, "fast", [1.0])}
    timings = interleaved(runners, seconds=1.0, clock_ns=clock)
    assert (timings["slow"].median, timings["fast"].median) == (4.0, 1.0)
    assert (timings["slow"].ratio, timings["fast"].ratio) == (1.0, 0.25)
    assert timings["fast"].spread == 0.0


def test_a_drift_of_the_machine_hits_all_alike() -> None:
    clock, log = Clock(), list[str]()
    # the machine grows slower all the time: absolute times drift, the ratio stays
    drift = [1 + n / 200 for n in range(20000)]
    runners = {
        "a": FakeRunner(clock, log, "a", drift),
        "b": FakeRunner(clock, log, "b", [2 * t for t in drift]),
    }
    timings = interleaved(runners, seconds=5.0, clock_ns=clock)
    assert timings["b"].ratio == pytest.approx(2.0)
    assert timings["b"].ratio_spread == pytest.approx(0.0, abs=1e-9)
    assert timings["b"].spread > 0


def test_artifacts_take_turns_and_the_first_inferences_of_a_block_do_not_count() -> None:
    clock, log = Clock(), list[str]()

    class Cold(FakeRunner):
        """Slow until it has run a few times in a row."""

        def invoke(self) -> None:
            in_a_row = next((n for n, name in enumerate(reversed(log)) if name != self.name), len(log))
            self.times = [100.0] if in_a_row < WARM_UP else [5.0]
            super().invoke()

    timings = interleaved({name: Cold(clock, log, name, []) for name in "ab"}, seconds=0.001, clock_ns=clock)
    assert timings["a"].median == 5.0
    turns = [log[0]] + [now for before, now in pairwise(log) if before != now]
    assert turns == ["a", "b"] * (len(turns) // 2)
