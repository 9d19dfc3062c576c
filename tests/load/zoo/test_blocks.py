import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from paring.core.errors import ParingError
from paring.load.zoo.blocks import conv_unit, image_size, initialize, round_channels

channels = st.floats(min_value=0.01, max_value=1e5)


@given(channels, st.sampled_from([1, 4, 8, 16]))
def test_rounded_channels_are_multiples_near_the_wish(wish, step):
    rounded = round_channels(wish, step)
    assert rounded % step == 0
    assert rounded >= step
    assert rounded >= 0.9 * wish
    assert rounded - wish <= step
    assert round_channels(rounded, step) == rounded


@given(channels, channels)
def test_more_channels_never_round_to_fewer(a, b):
    low, high = sorted([a, b])
    assert round_channels(low) <= round_channels(high)


@pytest.mark.parametrize(
    ("wish", "rounded"),
    [(1, 8), (8, 8), (11.2, 16), (12, 16), (16, 16), (19, 24), (20, 24), (96 * 0.35, 32), (1792, 1792)],
)
def test_rounded_channels_by_hand(wish, rounded):
    assert round_channels(wish) == rounded  # 11.2 and 19: the nearest multiple would be under 90 %


def test_image_size():
    assert image_size(7, "x") == (7, 7)
    assert image_size([49, 10], "x") == (49, 10)
    with pytest.raises(ParingError):
        image_size([1], "x")


def test_initialization():
    torch.manual_seed(0)
    network = initialize(
        nn.Sequential(
            conv_unit(64, 128, 3), conv_unit(128, 128, 3, groups=128), nn.Conv2d(128, 8, 1), nn.Linear(100, 100)
        )
    )
    dense, depthwise = network[0][0].weight, network[1][0].weight
    assert dense.std().item() == pytest.approx((2 / (128 * 9)) ** 0.5, rel=0.02)
    assert depthwise.std().item() == pytest.approx((2 / 9) ** 0.5, rel=0.1)
    assert network[3].weight.std().item() == pytest.approx(0.01, rel=0.05)
    assert not network[2].bias.any()
    assert not network[3].bias.any()
    assert (network[0][1].weight == 1).all()
    assert not network[0][1].bias.any()
