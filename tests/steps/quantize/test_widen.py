"""Scales that a kernel can count with: biases in int32, factors within its bounds."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from paring.core.model import Model, Source, TensorSpec
from paring.core.step import Context
from paring.core.target import Limits
from paring.load import probe
from paring.steps import INVARIANTS
from paring.steps.quantize import graph
from paring.steps.quantize.static import QuantizeStatic, StaticConfig
from paring.targets import TARGETS
from paring.testing.repairs import EVERY, Images

SHAPE = (3, 8, 8)


def tiny() -> nn.Module:
    """Every weight tiny, biases of the usual size."""
    net = nn.Sequential(nn.Conv2d(3, 2, 3, padding=1), nn.Conv2d(2, 4, 1))
    net[0].weight.data *= 1e-9
    net[0].bias.data = torch.tensor([5.0, -4.5])
    return net


def dead() -> nn.Module:
    """One channel of a transposed convolution and one of a linear layer without weights."""
    net = nn.Sequential(
        nn.ConvTranspose2d(3, 4, 2, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)
    )
    net[0].weight.data[:, 1] = 0
    net[0].bias.data[1] = 3.0
    net[4].weight.data[2] = 0
    net[4].bias.data[2] = -2.0
    return net


def folded() -> nn.Module:
    """A batch norm that leaves nothing but its offset in one channel."""
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
    net[1].weight.data[0] = 1e-20
    net[1].bias.data[0] = 4.0
    return net


def nothing() -> nn.Module:
    """A ReLU that lets nothing pass, between two layers."""
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 1))
    net[0].bias.data -= 100
    return net


def usual() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 1))


def loaded(make: Callable[[], nn.Module]) -> Model:
    torch.manual_seed(0)
    return probe.model(make().eval(), Source("test"), (TensorSpec.of("image", SHAPE),))


def quantized(model: Model, x: Tensor, folder: Path, **options: Any) -> Model:
    config = StaticConfig.model_validate({"calibration": {"samples": len(x)}, **options})
    return QuantizeStatic().apply(model, config, Context(Images(x), Limits(EVERY, EVERY), 0, model, folder))


OPTIONS: list[dict[str, Any]] = [
    {}, {"granularity": "tensor"}, {"repairs": ["bias_correction"]}, {"activations": "int16"}, {"weights": "int4"},
]  # fmt: skip


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("make", [tiny, dead, folded, nothing])
def test_every_bias_fits_and_the_scales_are_those_that_are_recorded(
    make: Callable[[], nn.Module], options: dict[str, Any], tmp_path: Path
) -> None:
    model = loaded(make)
    x = torch.rand(16, *SHAPE) * 3
    found = quantized(model, x, tmp_path, **options)
    (wanted,), (got,) = model({"image": x}).values(), found({"image": x}).values()
    coarse = options.get("weights") == "int4"
    assert float((got - wanted).norm()) <= (0.25 if coarse else 0.03) * float(wanted.norm())
    module: Any = found.module
    steps = {}
    for node in module.graph.nodes:
        if node.target in (torch.ops.quantized_decomposed.dequantize_per_tensor.default,):
            steps[node] = float(node.args[1])
    for layer in [n for n in module.graph.nodes if "conv" in str(n.target) or "linear" in str(n.target)]:
        weight_scale = graph_scale(module, layer.args[1])
        bias = module.get_parameter(str(layer.args[2].target))
        assert float((bias.abs() / (steps[layer.args[0]] * weight_scale)).max()) < 2**31
    for invariant in found.invariants:
        assert INVARIANTS.load(invariant.kind)(found, invariant) is None


def graph_scale(module: Any, node: Any) -> Tensor:
    scale = node.args[1]
    return torch.tensor(scale) if isinstance(scale, float) else graph.attribute(module, scale)


@pytest.mark.parametrize(("make", "told"), [(dead, "1 of 0, 1 of 4"), (folded, "1 of 0"), (usual, "")])
def test_channels_that_nothing_moves_are_told(make: Callable[[], nn.Module], told: str, tmp_path: Path) -> None:
    changed = quantized(loaded(make), torch.rand(16, *SHAPE), tmp_path).history[-1].changed
    assert ("could be pruned: " in changed) == bool(told)
    assert told in changed


@pytest.mark.parametrize("target", ["litert", "onnxruntime", "executorch"])
def test_files_answer_as_their_graph(target: str, tmp_path: Path) -> None:
    x = torch.rand(16, *SHAPE) * 127
    model = loaded(tiny)
    found = quantized(model, x, tmp_path)
    runtime: Any = TARGETS.load(target)()
    path = runtime.export(found, tmp_path / f"m{runtime.suffix}", runtime.Options())
    (got,) = runtime.open(path).run({"image": x.numpy()}).values()
    (wanted,) = found({"image": x}).values()
    assert float((torch.from_numpy(got) - wanted).norm() / wanted.norm()) < 0.02
