"""Networks go the whole way: in float and quantized, exported, and the lite interpreter answers as PyTorch does."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from paring import load
from paring.core.step import Context
from paring.core.target import one_sample
from paring.load.zoo.mobilenet_v2 import InvertedResidual
from paring.measure.accuracy import sqnr
from paring.measure.answers import of_model
from paring.steps.quantize.static import Calibration, QuantizeStatic, StaticConfig
from paring.targets.torchmobile import TorchMobile
from paring.testing.models import TinyTask
from paring.testing.networks import see_data

TARGET = TorchMobile()
NETWORKS = {
    "zoo:resnet20": (3, 32, 32),  # pads, slices, sums
    "zoo:squeezenet1_1": (3, 32, 32),
    "zoo:mobilenet_v1(width=0.25)": (1, 32, 32),
    "zoo:mobilenet_v2(width=0.25)": (3, 32, 32),
    "zoo:resnet8": (3, 32, 32),
    "zoo:ds_cnn": (1, 49, 10),
}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "shape"), NETWORKS.items())
def test_a_zoo_network_is_int8_throughout(
    name: str, shape: tuple[int, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    model = load.open(name, shape=shape)
    see_data(model.module)
    for module in model.module.modules():
        if isinstance(module, InvertedResidual) and module.residual:  # as training leaves it: see LiteRT's test
            last = [layer for layer in module.body.modules() if isinstance(layer, nn.BatchNorm2d)][-1]
            nn.init.constant_(last.weight, 0.5)
    images = torch.randn(16, *shape, generator=torch.Generator().manual_seed(0))
    batch = next(iter(TinyTask().batches("calibration", 16)))
    fed = type(batch)({"image": images}, batch.targets)
    monkeypatch.setattr(TinyTask, "batches", lambda self, split, size, **options: iter([fed]))
    context = Context(TinyTask(), TARGET.limits, 0, model, tmp_path)
    result = QuantizeStatic().apply(model, StaticConfig(calibration=Calibration(samples=16)), context)
    arrays = {"image": images.numpy()}
    floats, wanted = (of_model(one)(arrays)["output"] for one in (model, result))

    plain = TARGET.open(TARGET.export(model, tmp_path / "float.ptl")).run(arrays)["output"]
    np.testing.assert_allclose(plain, floats, atol=1e-4 * np.abs(floats).max())
    path = TARGET.export(result, tmp_path / "m.ptl")
    # less than elsewhere, for QNNPACK rounds biases to 32 bits: in each layer some codes are the next one
    assert sqnr(wanted, TARGET.open(path).run(arrays)["output"]) > 20
    contents = TARGET.describe(path)
    assert [kind for kind, _ in contents.in_float] == ["aten::adaptive_avg_pool2d"]  # gives its input's scale alone
    assert sum(contents.quantized.values()) >= len([one for one in result.invariants if one.kind == "scale"])


@pytest.mark.slow
def test_a_model_of_texts_answers_in_float(tmp_path: Path) -> None:
    config = {
        "dim": 32, "hidden_dim": 64, "n_layers": 2, "n_heads": 2, "vocab_size": 50, "max_position_embeddings": 32,
    }  # fmt: skip
    model = load.open(f"hf:distilbert(config={config}, head='classify')")
    assert not TARGET.check(model)
    runner = TARGET.open(TARGET.export(model, tmp_path / "m.ptl"))
    for seed in range(3):
        sample = one_sample(model.inputs, seed)
        wanted = model({name: torch.from_numpy(array) for name, array in sample.items()})["output"].numpy()
        np.testing.assert_allclose(runner.run(sample)["output"], wanted, atol=1e-4 * max(1, np.abs(wanted).max()))
