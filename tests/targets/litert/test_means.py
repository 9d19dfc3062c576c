"""Means over images, taken as they lie."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from paring.core.model import Source, TensorSpec
from paring.load import probe
from paring.measure.answers import of_model
from paring.targets.litert import LiteRT


class Means(nn.Module):
    """Some means that can be taken as images lie, and some that cannot."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.gate = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 1)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = self.stem(image)
        x = x * self.gate(x.mean((2, 3), keepdim=True))
        return x.mean((2, 3)), x.mean((1, 3)), x.mean((2, 3), keepdim=True)


def test_means_over_height_and_width_turn_nothing(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = probe.model(Means().eval(), Source("test"), (TensorSpec.of("image", (3, 6, 5)),))
    file = LiteRT().export(model, tmp_path / "m.tflite")
    images = {"image": np.random.default_rng(0).normal(size=(3, 3, 6, 5)).astype(np.float32)}
    got, wanted = LiteRT().open(file).run(images), of_model(model)(images)
    assert len(got) == 3
    for name, answer in got.items():
        np.testing.assert_allclose(answer, wanted[name], atol=1e-5)
    # one for the image itself, channels first; one for the means over channels, one for those given as an image
    assert LiteRT().describe(file).operators.get("TRANSPOSE", 0) <= 3
    assert LiteRT().describe(file).operators["MEAN"] == 4
