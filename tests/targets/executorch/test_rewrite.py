"""The graph that is lowered answers as the model does, with fewer operators."""

from pathlib import Path

import numpy as np
from torch import nn

from paring.core.model import Source, TensorSpec
from paring.load import probe
from paring.measure.answers import of_model
from paring.targets.executorch import ExecuTorch


def test_pooling_runs_in_xnnpack(tmp_path: Path) -> None:
    layers = (nn.Conv2d(1, 8, 3), nn.ReLU(), nn.AvgPool2d(2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))
    specs = (TensorSpec("image", ("batch", 1, 8, 8), "float32", "NCHW"),)
    model, target = probe.model(nn.Sequential(*layers).eval(), Source("test"), specs), ExecuTorch()
    path = target.export(model, tmp_path / "m.pte")
    images = {"image": np.random.default_rng(0).normal(size=(4, 1, 8, 8)).astype(np.float32)}
    found = target.open(path).run(images)["output"]
    np.testing.assert_allclose(found, of_model(model)(images)["output"], atol=1e-5)
    operators = target.describe(path).operators
    assert {"AvgPooling2d", "GlobalAvgPooling2d"} <= set(operators)
    assert not any("::" in one and "prim" not in one for one in operators)
