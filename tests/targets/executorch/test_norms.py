"""Every batch norm answers as the network's own, whatever else its layer is read by."""

from pathlib import Path

import torch
from torch import Tensor, nn

from paring.targets.executorch import ExecuTorch
from paring.testing.between import agreement, between

TARGET = ExecuTorch()


def norm() -> nn.BatchNorm2d:
    made = nn.BatchNorm2d(8)
    nn.init.normal_(made.running_mean)
    nn.init.uniform_(made.running_var, 0.1, 0.3)
    nn.init.uniform_(made.weight, 0.5, 1.5)
    nn.init.normal_(made.bias)
    return made


class Shared(nn.Module):
    """One convolution over two levels, a norm for each of them, or one for both."""

    def __init__(self, norms: int, *, bias: bool) -> None:
        super().__init__()
        self.head = nn.Conv2d(8, 8, 3, padding=1, bias=bias)
        self.norms = nn.ModuleList(norm() for _ in range(norms))

    def forward(self, given: Tensor) -> Tensor:
        return self.norms[0](self.head(given)) + 2 * self.norms[-1](self.head(given.flip(2)))


class Read(nn.Module):
    """A convolution that others read beside its norm, and two norms in a row."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.first, self.second = nn.Conv2d(8, 8, 1), norm(), norm()

    def forward(self, given: Tensor) -> Tensor:
        values = self.layer(given)
        return values + self.second(self.first(values))


class Rows(nn.Module):
    """Norms of what is no image."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.first, self.second = nn.Conv1d(8, 8, 3, padding=1), nn.BatchNorm1d(8), nn.BatchNorm1d(8)
        nn.init.normal_(self.first.running_mean)
        nn.init.normal_(self.second.running_mean)

    def forward(self, given: Tensor) -> Tensor:
        values = self.first(self.layer(given.flatten(2)))
        means = self.second(values.mean(2))
        return values.reshape(given.shape) + means[:, :, None, None]


def test_norms_answer_as_those_of_the_network(tmp_path: Path) -> None:
    torch.manual_seed(0)
    networks = {
        "two norms": Shared(2, bias=True),
        "two norms, no bias": Shared(2, bias=False),
        "one norm": Shared(1, bias=True),
        "read by others": Read(),
        "alone": nn.Sequential(nn.ReLU(), norm()),
        "transposed": nn.Sequential(nn.ConvTranspose2d(8, 8, 3, groups=2), norm()),
        "of rows": Rows(),
        "without a weight": nn.Sequential(nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8, affine=False)),
    }
    found = agreement(TARGET, between(networks, tmp_path, int8=False), networks, tmp_path)
    assert {name: value for name, value in found.items() if value < 60} == {}


def test_a_norm_that_alone_reads_its_layer_costs_nothing(tmp_path: Path) -> None:
    networks = {"one": nn.Sequential(nn.Conv2d(8, 8, 1), norm()), "both": Shared(1, bias=False)}
    path = TARGET.export(between(networks, tmp_path, int8=False), tmp_path / "m.pte")
    assert TARGET.describe(path).operators["Conv2d"] == 2 + 1 + 2 + 2
    assert "DepthwiseConv2d" not in TARGET.describe(path).operators
