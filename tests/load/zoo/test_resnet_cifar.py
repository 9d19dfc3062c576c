import pytest
import torch
from torch import nn

from paring.load.zoo.resnet_cifar import BasicBlock, PadShortcut, resnet56


@pytest.mark.parametrize(("name", "blocks", "millions"), [("resnet20", 3, 0.27), ("resnet56", 9, 0.85)])
def test_costs_as_published(costs, name, blocks, millions):
    """Parameters: He et al. 2015, Table 6. MACs: by hand."""
    parameters, macs = costs(name, (3, 32, 32))
    assert round(parameters / 1e6, 2) == millions
    full = 9 * 16 * 16 * 32 * 32  # one convolution of the first stage; halving the image and doubling both widths
    assert (
        macs == 9 * 3 * 16 * 32 * 32 + full * (3 * 2 * blocks - 2) + 2 * full // 2 + 640
    )  # keeps it, a stride halves it


def test_resnet56_macs_as_published(costs):
    """Li et al. 2017, "Pruning Filters for Efficient ConvNets", arXiv:1608.08710, Table 1: 1.25e8 (as remembered)."""
    assert costs("resnet56", (3, 32, 32))[1] == pytest.approx(1.25e8, rel=0.005)


def test_resnet8_costs_as_published(costs):
    """Banbury et al. 2021 (MLPerf Tiny), the reference's code with 16 filters: 78,666 numbers, counted from it by us.

    github.com/mlcommons/tiny, benchmark/training/image_classification/keras_model.py: each convolution has a bias in
    front of its batch norm, the two shortcuts have a bias and no batch norm, and Keras counts running statistics too.
    MACs: counted by us.
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
