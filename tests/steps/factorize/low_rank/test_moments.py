"""What layers read."""

import pytest
import torch
from hypothesis import given, settings
from torch import nn

from paring import load
from paring.core.model import Model, Source, TensorSpec
from paring.core.task import Batch
from paring.steps.factorize.low_rank import moments
from paring.steps.factorize.low_rank.metric import PLAIN
from paring.steps.factorize.low_rank.moments import Moments, patches
from paring.testing.layers import LAYERS, drawn_layer
from paring.testing.models import TinyTask

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same'")


@settings(max_examples=60)
@given(LAYERS)
def test_patches_times_the_weight_are_the_outputs(options):
    layer, x = drawn_layer({**options, "bias": False})
    with torch.no_grad():
        wanted = layer(x).movedim(1, -1).reshape(-1, 6)
        torch.testing.assert_close(patches(layer, x) @ layer.weight.flatten(1).T, wanted, rtol=1e-4, atol=1e-4)


def of(names, samples=64):
    model = load.open("torch:paring.testing.structures:chain", shape=(1, 8, 8))
    layers = {name: model.module.get_submodule(name) for name in names}
    return model, layers, Moments(model, layers, TinyTask(), samples, 16)


def test_they_are_the_second_moments_up_to_a_factor():
    _, layers, found = of(["stem.0", "hidden"])
    images = torch.cat([batch.inputs["image"] for batch in TinyTask().batches("calibration", 64)])
    rows = patches(layers["stem.0"], images)
    wanted = (rows.T @ rows).double()
    metric = found.metric("stem.0")
    undamped = metric.full - moments.DAMPING * torch.eye(9, dtype=torch.float64)
    wanted = wanted / wanted.diagonal().mean()
    assert float((undamped - wanted).norm() / wanted.norm()) < 0.3  # of a part of the patches
    assert metric.channels.shape == (1, 1)
    assert found.metric("hidden").full.shape == (96, 96)
    assert torch.linalg.eigvalsh(found.metric("hidden").full)[0] > 0


def test_of_wide_patches_the_channels(monkeypatch):
    monkeypatch.setattr(moments, "WIDEST", 100)
    found = of(["blocks.0.0"])[2].metric("blocks.0.0")
    assert found.full is None
    assert found.channels.shape == (16, 16)


class Words(nn.Module):
    """Looks words up."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(5, 3)
        self.ended = 0

    def forward(self, ids):
        rows = self.table(ids)
        self.ended += 1
        return rows.mean(1)


class Texts(TinyTask):
    labels = ()

    def batches(self, split, batch_size, **_):
        yield Batch({"ids": torch.tensor([[0, 1, 1], [4, 1, 0]])}, torch.zeros(2))


def test_rows_are_counted():
    ends = TensorSpec("ids", ("batch", 3), "int64"), TensorSpec("y", ("batch", 3))
    model = Model(Words().eval(), Source("words"), ends[:1], ends[1:])
    found = Moments(model, {"table": model.module.table}, Texts(), 2, 2)
    assert found.counts("table").tolist() == [2, 3, 0, 0, 1]
    assert found.metric("table") is PLAIN
    assert model.module.ended == 0  # a look-up is counted without what lies behind it


def test_the_same_samples_give_the_same_moments():
    one, other = (of(["blocks.0.0"])[2].metric("blocks.0.0").full for _ in range(2))
    assert torch.equal(one, other)
