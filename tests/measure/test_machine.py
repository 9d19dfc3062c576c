"""What the machine is, and staying on its cores."""

import os

from paring.measure import machine


def test_the_environment_is_told() -> None:
    found = machine.environment()
    assert found["cpu"]
    assert "torch" in found["libraries"]
    assert machine.on("LiteRT 1", 2).endswith("· LiteRT 1 · 2 threads")


def test_pinning_ends() -> None:
    before = os.sched_getaffinity(0)
    with machine.pinned(1):
        assert len(os.sched_getaffinity(0)) == 1
    assert os.sched_getaffinity(0) == before
