"""What each layer gives in the runtime."""

from pathlib import Path

import numpy as np
import torch

from paring.core.target import ExportOptions, Traces
from paring.measure.accuracy import sqnr
from paring.steps.quantize import graph
from paring.targets.litert import LiteRT
from paring.testing.models import TinyTask, quantized, tiny


def test_each_layer_gives_what_it_gives_in_pytorch(tmp_path: Path) -> None:
    target, model = LiteRT(), quantized()
    assert isinstance(target, Traces)
    images = next(iter(TinyTask().batches("test", 6))).inputs["image"]
    floats = graph.fold(graph.capture(tiny()))
    wanted: dict[str, torch.Tensor] = {}

    class Noting(torch.fx.Interpreter):
        def run_node(self, n: torch.fx.Node) -> object:
            found = super().run_node(n)
            for layer in layers:
                if n is (layer.node if layer.name in {"body.3", "classifier"} else next(iter(layer.node.users))):
                    wanted[layer.name] = found  # behind its ReLU6, where it has one
            return found

    layers = graph.weighted(floats)
    Noting(floats).run(images)
    for layout in ("NCHW", "NHWC"):
        options = ExportOptions.model_validate({"layout": layout})
        artifact = target.export(model, tmp_path / f"{layout}.tflite", options)
        found = target.trace(artifact, model, {"image": images.numpy()})
        assert set(found) == {"stem.0", "body.0", "body.3", "classifier"}
        for layer, values in found.items():
            assert values.shape == tuple(wanted[layer].shape)
            assert sqnr(wanted[layer].numpy(), values) > 25, layer
        np.testing.assert_allclose(
            found["classifier"], target.open(artifact).run({"image": images.numpy()})["output"], atol=0.1
        )
