"""Of what a runtime could run on integers, nothing stays in float."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from paring.core.model import Source, TensorSpec
from paring.core.step import Context
from paring.load import probe
from paring.measure.answers import of_model
from paring.steps.quantize.static import Calibration, QuantizeStatic, StaticConfig
from paring.targets.int8 import INT8_ALONE
from paring.targets.litert import LiteRT
from paring.testing.blocks import SHAPE, CSPDarknet, EfficientNet, MixNet, ShuffleNet
from paring.testing.repairs import Images


@pytest.mark.parametrize("build", [EfficientNet, MixNet, ShuffleNet, CSPDarknet])
def test_a_network_computes_on_integers(build: type[nn.Module], tmp_path: Path) -> None:
    torch.manual_seed(0)
    images = torch.randn(8, *SHAPE)
    module = build().train()
    for _ in range(20):  # statistics of the batch norms
        module(images)
    model = probe.model(module.eval(), Source("test"), (TensorSpec.of("image", SHAPE),))
    config = StaticConfig(calibration=Calibration(samples=8), ladder=None)
    quantized = QuantizeStatic().apply(model, config, Context(Images(images), INT8_ALONE, 0, model, tmp_path))
    assert not quantized.history[-1].skipped
    target = LiteRT()
    file = target.export(quantized, tmp_path / "model.tflite")
    held = target.describe(file)
    assert held.in_float == ()
    assert sum(held.quantized.values()) > 10
    given = {"image": images.numpy()}
    (wanted,), (found,) = (list(one.values()) for one in (of_model(quantized)(given), target.open(file).run(given)))
    assert 10 * np.log10(np.square(wanted).sum() / np.square(wanted - found).sum()) > 30
