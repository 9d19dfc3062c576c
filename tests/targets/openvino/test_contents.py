"""What files hold can be told whatever moves their values about."""

from pathlib import Path

import pytest
import torch

from paring.targets.openvino import OpenVINO
from paring.testing.between import Between, agreement, between

MOVES: dict[str, Between] = {
    "roll": lambda given: given.roll(2, 3),
    "stack": lambda given: torch.stack([given, given * 2], 2).flatten(1, 2),
    "unbind": lambda given: torch.stack(given.unbind(1)[::-1], 1),
    "split": lambda given: torch.cat(given.split([2, 6], 1)[::-1], 1),
    "flip": lambda given: given.flip(3),
    "channel shuffle": lambda given: given.unflatten(1, (2, 4)).transpose(1, 2).flatten(1, 2),
}
TARGET = OpenVINO()


@pytest.mark.parametrize("int8", [False, True])
def test_moves_are_described(int8: bool, tmp_path: Path) -> None:
    model = between(MOVES, tmp_path, int8=int8)
    found = agreement(TARGET, model, MOVES, tmp_path)
    assert {name: value for name, value in found.items() if value < 30} == {}
    contents = TARGET.describe(tmp_path / f"m{TARGET.suffix}")
    assert sum(contents.quantized.values()) + len(contents.in_float) >= 2 * len(MOVES)
