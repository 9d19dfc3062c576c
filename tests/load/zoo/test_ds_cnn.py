import pytest
import torch

from paring.core.errors import ParingError
from paring.load.zoo.ds_cnn import ds_cnn


def test_costs_as_published(costs):
    """Zhang et al. 2017, arXiv:1711.07128, small DS-CNN: 5.4 M operations, two for each multiply-accumulate.

    Banbury et al. 2021 (MLPerf Tiny, github.com/mlcommons/tiny, keyword spotting): Keras' summary of the reference says
    "Total params: 24,908, trainable 23,756"; it counts running statistics, and a bias in front of each batch norm.
    """
    parameters, macs = costs("ds_cnn", (1, 49, 10))
    assert macs == 25 * 5 * (10 * 4 * 64 + 4 * (9 * 64 + 64 * 64)) + 64 * 12
    assert 2 * macs / 1e6 == pytest.approx(5.4, rel=0.02)
    assert parameters + 3 * 9 * 64 == 24_908


def test_the_stem_halves_time_and_frequency():
    assert ds_cnn().stem(torch.zeros(1, 1, 49, 10)).shape == (1, 64, 25, 5)


def test_other_sizes():
    network = ds_cnn(filters=8, blocks=2, classes=3).eval()
    assert len(network.blocks) == 2
    assert network(torch.zeros(2, 1, 49, 10)).shape == (2, 3)


@pytest.mark.parametrize("wrong", [{"filters": 0}, {"blocks": -1}])
def test_refuses_wrong_arguments(wrong):
    with pytest.raises(ParingError):
        ds_cnn(**wrong)
