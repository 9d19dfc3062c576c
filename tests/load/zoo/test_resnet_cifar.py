import pytest
import torch
from torch import nn

from paring.load.zoo.resnet_cifar import BasicBlock, PadShortcut, resnet56


@pytest.mark.parametrize(
    ("name", "parameters", "macs"),
    [
        # parameters: He et al. 2015, Table 6. MACs: He et al. 2018, "Soft Filter Pruning", arXiv:1808.06866, Table 1
        # (4.06E7 and 1.25E8; they count multiplications)
        ("resnet20", 269_722, 40_551_040),
        ("resnet56", 853_018, 125_485_696),
    ],
)
def test_costs_as_published(costs, name, parameters, macs):
    assert costs(name, (3, 32, 32)) == (parameters, macs)
    published = {"resnet20": (0.27e6, 4.06e7), "resnet56": (0.85e6, 1.25e8)}[name]
    assert (parameters, macs) == pytest.approx(published, rel=0.005)


def test_resnet8_costs_as_published(costs):
    """Banbury et al. 2021 (MLPerf Tiny): the reference's Keras summary says 78,666, at about 12.5 M MACs.

    It counts running statistics, and has a bias in front of each batch norm.
    """
    parameters, macs = costs("resnet8", (3, 32, 32))
    normalized = 3 * 16 + 2 * 32 + 2 * 64
    assert parameters + 3 * normalized == 78_666
    assert macs == 12_501_632


def test_depth():
    """Table 6 counts convolutions and the linear layer."""
    assert sum(isinstance(layer, nn.Conv2d | nn.Linear) for layer in resnet56().modules()) == 56


def test_shortcut_without_parameters():
    x = torch.randn(2, 3, 5, 5)
    y = PadShortcut(3, 5, stride=2)(x)
    assert y.shape == (2, 5, 3, 3)
    torch.testing.assert_close(y[:, :3], x[:, :, ::2, ::2], rtol=0, atol=0)
    assert not y[:, 3:].any()


@pytest.mark.parametrize("shortcut", ["pad", "conv"])
def test_block_adds_its_shortcut(shortcut):
    block = BasicBlock(4, 8, stride=2, shortcut=shortcut).eval()
    x = torch.randn(2, 4, 6, 6)
    torch.testing.assert_close(block(x), (block.shortcut(x) + block.body(x)).relu(), rtol=0, atol=0)
    assert isinstance(BasicBlock(4, 4, stride=1, shortcut=shortcut).shortcut, nn.Identity)
