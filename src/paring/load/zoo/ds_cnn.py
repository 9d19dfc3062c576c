"""DS-CNN, for keyword spotting.

Zhang et al. 2017, "Hello Edge: Keyword Spotting on Microcontrollers", arXiv:1711.07128, section 4, the small
network; as in Banbury et al. 2021, "MLPerf Tiny Benchmark", arXiv:2106.07597, Table 1.
"""

from collections import OrderedDict

from torch import nn

from paring.core.errors import ParingError
from paring.load.zoo.blocks import Size, check_arguments, initialize, separable_unit


def ds_cnn(
    *,
    classes: int = 12,
    channels: int = 1,
    size: Size = (49, 10),
    filters: int = 64,
    blocks: int = 4,
) -> nn.Module:
    """DS-CNN: one convolution over time and frequency, then depthwise separable ones.

    float32, shape (batch, channels, height, width) -> (batch, classes): logits. Height is time (49 frames), width is
    frequency (10 coefficients).

    Args:
        classes: number of outputs: ten words, "unknown" and "silence".
        channels: number of input channels.
        size: (frames, coefficients) of a spectrogram, or one number for both; at least 2.
        filters: channels of every convolution.
        blocks: number of separable convolutions.

    Raises:
        ParingError: an argument is out of its range.
    """
    where = "zoo:ds_cnn"
    check_arguments(where, classes=classes, channels=channels, size=size, smallest=2)
    if filters < 1 or blocks < 0:
        raise ParingError(f"filters is {filters}, blocks is {blocks}", where, "the paper's small network: 64 and 4")
    return initialize(
        nn.Sequential(
            OrderedDict(
                stem=nn.Sequential(
                    OrderedDict(
                        # padded so that 49x10 becomes 25x5
                        conv=nn.Conv2d(channels, filters, (10, 4), stride=2, padding=(5, 1), bias=False),
                        norm=nn.BatchNorm2d(filters),
                        activation=nn.ReLU(),
                        dropout=nn.Dropout(0.2),
                    )
                ),
                blocks=nn.Sequential(*(separable_unit(filters, filters) for _ in range(blocks))),
                dropout=nn.Dropout(0.4),
                pool=nn.AdaptiveAvgPool2d(1),
                flatten=nn.Flatten(),
                classifier=nn.Linear(filters, classes),
            )
        )
    )
