"""What is computed from stored tensors alone, and read with several scales."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from paring.core.model import Source, TensorSpec
from paring.core.step import Context
from paring.core.target import Limits
from paring.load import probe
from paring.measure.accuracy import sqnr
from paring.steps.quantize.static import Calibration, QuantizeStatic, StaticConfig
from paring.targets.litert import LiteRT
from paring.targets.parity import reference
from paring.testing.random_networks.trial import Given


class Rotary(nn.Module):
    """Halves of one table, of unlike ranges, for a sequence of any length, as rotary embeddings are."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.table = nn.Linear(8, 8), nn.Embedding(32, 8)
        with torch.no_grad():
            self.table.weight[:, 4:] *= 0.6
            self.table.weight[:, :4] -= 1

    def forward(self, x: Tensor) -> Tensor:
        """(batch, tokens, 8) -> the same."""
        table = self.table(torch.arange(0, x.shape[1]))[None]
        one, other = (torch.stack([half, half], -1).reshape_as(table) for half in table.chunk(2, -1))
        y = self.linear(x)
        found: Tensor = y * one + y.flip(-1) * other
        return found


def test_each_reader_has_numbers_of_its_own_scale(tmp_path: Path) -> None:
    torch.manual_seed(0)
    spec = TensorSpec("x", ("batch", "length", 8), "float32", free={"length": 6})
    model = probe.model(Rotary().eval(), Source("test"), (spec,))
    samples = {"x": torch.randn(8, 6, 8).numpy()}
    both = frozenset({"float32", "int8"})
    context = Context(Given(samples, model.inputs), Limits(both, both), 0, model, tmp_path)
    config = StaticConfig(calibration=Calibration(samples=8), ladder=None)
    quantized = QuantizeStatic().apply(model, config, context)
    runner = LiteRT().open(LiteRT().export(quantized, tmp_path / "model.tflite"))
    found, wanted = runner.run(samples)["output"], reference.answers(quantized, samples)["output"]
    assert np.isfinite(found).all()
    assert sqnr(wanted, found) > 40  # 6.5 where both read numbers of one scale
