"""Kinds of zoo networks go the whole way: quantized, exported, and the runtime answers as PyTorch does."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from paring import load
from paring.core.step import Context
from paring.core.target import ExportOptions
from paring.load.zoo.mobilenet_v2 import InvertedResidual
from paring.measure.accuracy import sqnr
from paring.measure.answers import of_model
from paring.steps.quantize.static import Calibration, QuantizeStatic, StaticConfig
from paring.targets.executorch import ExecuTorch
from paring.testing.models import TinyTask

NETWORKS = [
    ("zoo:ds_cnn", (1, 49, 10)),
    pytest.param("zoo:squeezenet1_1", (3, 32, 32), marks=pytest.mark.slow),
    pytest.param("zoo:resnet20", (3, 32, 32), marks=pytest.mark.slow),
    pytest.param("zoo:mobilenet_v2(width=0.25)", (3, 32, 32), marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("name", "shape"), NETWORKS)
def test_a_zoo_network_answers_as_in_pytorch(
    name: str, shape: tuple[int, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, target = load.open(name, shape=shape), ExecuTorch()
    for module in model.module.modules():
        if isinstance(module, nn.BatchNorm2d):  # statistics that folding has to get right
            assert module.running_mean is not None
            assert module.running_var is not None
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.8, 1.2)
        if isinstance(module, InvertedResidual) and module.residual:  # as training leaves it: see LiteRT's test
            nn.init.constant_([x for x in module.body.modules() if isinstance(x, nn.BatchNorm2d)][-1].weight, 0.5)
    images = torch.randn(16, *shape, generator=torch.Generator().manual_seed(0))
    batch = next(iter(TinyTask().batches("calibration", 16)))
    fed = type(batch)({"image": images}, batch.targets)
    monkeypatch.setattr(TinyTask, "batches", lambda self, split, size, **options: iter([fed]))
    context = Context(TinyTask(), target.limits, 0, model, tmp_path)
    result = QuantizeStatic().apply(model, StaticConfig(calibration=Calibration(samples=16)), context)

    arrays = {"image": images.numpy()}
    float_file = target.export(model, tmp_path / "float.pte")
    floats = of_model(model)(arrays)["output"]
    assert sqnr(floats, target.open(float_file).run(arrays)["output"]) > 90

    path = target.export(result, tmp_path / "int8.pte", ExportOptions(io="int8"))
    found = target.describe(path)
    assert not found.in_float
    assert "Convert" not in found.operators
    answers = target.open(path).run(arrays)["output"]
    assert sqnr(of_model(result)(arrays)["output"], answers) > 25
    assert sqnr(floats, answers) > 15
    assert np.unique(answers).size > 8
