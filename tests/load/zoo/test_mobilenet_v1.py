import pytest
import torch

from paring.load.zoo.mobilenet_v1 import mobilenet_v1

# channels before and after each separable convolution, Table 1
PAIRS = [(32, 64), (64, 128), (128, 128), (128, 256), (256, 256), (256, 512), *[(512, 512)] * 5, (512, 1024)]
PAIRS += [(1024, 1024)]


@pytest.mark.parametrize(
    ("width", "size", "millions_of_macs", "millions_of_parameters"),
    [  # Howard et al. 2017, arXiv:1704.04861, Tables 6 and 7, as remembered: the paper was not looked up again, and has
        # 290 for resolution 160. The authors' release (tensorflow/models, research/slim/nets/mobilenet_v1.md) says 291
        # there, but 317 for width 0.75 and 150 for 0.5; these two are counted by us.
        (1.0, 224, 569, 4.2),
        (0.75, 224, 325, 2.6),
        (0.5, 224, 149, 1.3),
        (0.25, 224, 41, 0.5),
        (1.0, 192, 418, 4.2),
        (1.0, 160, 291, 4.2),
        (1.0, 128, 186, 4.2),
    ],
)
def test_costs_as_published(costs, width, size, millions_of_macs, millions_of_parameters):
    parameters, macs = costs("mobilenet_v1", (3, size, size), width=width, size=size)
    assert round(macs / 1e6) == millions_of_macs
    assert round(parameters / 1e6, 1) == millions_of_parameters


def test_parameters_exactly(costs):
    """4,231,976 (the authors' table in slim's mobilenet_v1 README, early versions); counted by hand below."""
    stem = 27 * 32 + 2 * 32
    blocks = sum(9 * a + 2 * a + a * b + 2 * b for a, b in PAIRS)
    assert costs("mobilenet_v1", (3, 64, 64))[0] == stem + blocks + 1024 * 1000 + 1000 == 4_231_976


def test_visual_wake_words_size(costs):
    """Banbury et al. 2021 (MLPerf Tiny), person detection: width 0.25 at 96x96; both figures counted by us.

    From the reference's code (mlcommons/tiny, visual_wake_words/vww_model.py): its 221,794 numbers include running
    statistics and a bias in front of each of the 27 batch norms.
    """
    parameters, macs = costs("mobilenet_v1", (3, 96, 96), width=0.25, size=96, classes=2)
    normalized = (32 + sum(a + b for a, b in PAIRS)) // 4  # channels of all batch norms
    assert parameters + 3 * normalized == 221_794
    assert macs == pytest.approx(7.5e6, rel=0.01)


def test_small_form_keeps_more_resolution():
    def sides(form):
        network = mobilenet_v1(size=64, form=form, width=0.25)
        x, found = network.stem(torch.zeros(1, 3, 64, 64)), []
        for block in network.blocks:
            x = block(x)
            found.append(x.shape[2])
        return found

    assert sides("imagenet") == [32, 16, 16, 8, 8, *[4] * 6, 2, 2]
    assert sides("small") == [32, 16, 16, 16, 16, *[8] * 6, 4, 4]
