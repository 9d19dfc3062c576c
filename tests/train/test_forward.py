"""In which order images lie in memory while a network is trained."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from paring.testing.models import TinyTask, tiny
from paring.train.config import TrainConfig
from paring.train.forward import channels_last_is_safe
from paring.train.loop import fit

CPU = torch.device("cpu")
SEEN: list[bool] = []  # whether an image had its channels last, in training


class Strided(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.stem, self.down = nn.Conv2d(1, channels, 3, padding=1), nn.Conv2d(channels, 8, 1, stride=2)
        self.classifier = nn.Linear(8, 10)

    def forward(self, image):
        x = self.stem(image)
        if self.training:
            SEEN.append(x.is_contiguous(memory_format=torch.channels_last))
        return self.classifier(self.down(x).mean((2, 3)))


def test_only_strided_convolutions_of_one_place_and_few_channels_are_in_danger():
    assert not channels_last_is_safe(Strided(4), CPU)
    assert channels_last_is_safe(Strided(8), CPU)
    assert channels_last_is_safe(Strided(4), torch.device("cuda"))
    assert channels_last_is_safe(nn.Conv2d(4, 8, 3, stride=2), CPU)
    assert channels_last_is_safe(nn.Conv2d(4, 8, 1), CPU)


@pytest.mark.parametrize(("channels", "last"), [(4, False), (8, True)])
def test_a_network_in_danger_is_trained_with_its_channels_first(tmp_path, channels, last):
    SEEN.clear()
    model = replace(tiny(), module=Strided(channels).eval())
    fit(model, TinyTask(), TrainConfig(steps=3, batch_size=32), seed=0, directory=tmp_path)
    assert [last] * 3 == SEEN
