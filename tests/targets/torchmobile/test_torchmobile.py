"""The target `torchmobile` keeps the contract."""

import pytest

from paring.core.model import Model
from paring.core.target import Target
from paring.targets.torchmobile import TorchMobile
from paring.testing.models import foreign_operator
from paring.testing.targets import TargetContract


class TestTorchMobile(TargetContract):
    @pytest.fixture
    def target(self) -> Target:
        return TorchMobile()

    def unknown(self) -> Model:
        return foreign_operator()  # of PyTorch's own operators it has them all
