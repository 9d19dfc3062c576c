"""What the machine is."""

from paring.measure import machine


def test_the_environment_is_told() -> None:
    found = machine.environment()
    assert found["cpu"]
    assert "torch" in found["libraries"]
    assert machine.on("LiteRT 1", 2).endswith("· LiteRT 1 · 2 threads")
