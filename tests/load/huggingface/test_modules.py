"""From a task's normalization to a processor's."""

import numpy as np
import pytest
import torch
from torch import nn

from paring.load.huggingface.modules import ImageClassifier, rescaling

TASK = {"scale": 1 / 255, "mean": [0.5, 0.4, 0.3], "std": [0.5, 0.2, 0.1]}


class Seen(nn.Module):
    def forward(self, pixel_values):
        self.pixel_values = pixel_values
        return type("Answer", (), {"logits": pixel_values.mean((2, 3))})


@pytest.mark.parametrize(
    "processor",
    [
        {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.3, 0.4, 0.5], "rescale_factor": 1 / 127.5},
        {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.3, 0.4, 0.5], "do_flip_channel_order": True},
        {"do_flip_channel_order": True, "do_normalize": False},
        {"do_rescale": False, "do_normalize": False},
    ],
)
def test_images_arrive_as_the_processor_makes_them(processor) -> None:
    raw = np.random.default_rng(0).integers(0, 256, (2, 3, 4, 4)).astype(np.float64)
    mean, std = (np.array(TASK[key])[:, None, None] for key in ("mean", "std"))
    given = torch.from_numpy((raw * TASK["scale"] - mean) / std).float()
    wanted = raw * (processor.get("rescale_factor", 1 / 255) if processor.get("do_rescale", True) else 1)
    if processor.get("do_flip_channel_order"):
        wanted = wanted[:, ::-1]
    if processor.get("do_normalize", True):
        wanted = (wanted - np.array(processor["image_mean"])[:, None, None]) / np.array(processor["image_std"])[
            :, None, None
        ]
    seen = Seen()
    ImageClassifier(seen, rescaling(processor, TASK))(given)
    np.testing.assert_allclose(seen.pixel_values.numpy(), wanted, rtol=1e-4, atol=1e-3)


def test_the_same_normalization_adds_nothing() -> None:
    assert rescaling({"image_mean": TASK["mean"], "image_std": TASK["std"]}, TASK) is None
    assert rescaling(None, TASK) is None
