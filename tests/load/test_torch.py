"""The front door `torch:`."""

import pytest
import torch
from torch import nn

from paring.testing.doors import DoorContract
from paring.testing.networks import TinyNetwork, tiny_network


class TestTorchDoor(DoorContract):
    @pytest.fixture
    def text(self) -> str:
        return "torch:paring.testing.networks:tiny_network"

    @pytest.fixture
    def shape(self) -> tuple[int, ...]:
        return (1, 8, 8)

    @pytest.fixture
    def original(self) -> nn.Module:
        torch.manual_seed(7)
        network = tiny_network()
        assert isinstance(network, TinyNetwork)
        return network.eval()
