"""Networks with scales known, for repairs to work on."""

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from paring.core.model import Source, TensorSpec
from paring.core.quiet import quiet
from paring.core.step import Context
from paring.core.target import Limits
from paring.core.task import Batch
from paring.load import probe
from paring.steps.quantize import fixed, graph
from paring.steps.quantize.repairs import Work
from paring.steps.quantize.scheme import Precision, Scheme
from paring.testing.models import TinyTask

EVERY = frozenset({"float32", "int8", "int4", "int16"})
SHAPE = (3, 10, 10)


class Images(TinyTask):
    """A task whose calibration samples are given."""

    def __init__(self, images: Tensor) -> None:
        self.images = images

    def batches(self, split: object, batch_size: int, **options: Any) -> Iterator[Batch]:
        for part in torch.split(self.images[: options.get("limit")], batch_size):
            yield Batch({"image": part}, torch.zeros(len(part), dtype=torch.int64))


Worked = Callable[..., Work]


@pytest.fixture
def work(tmp_path: Path) -> Worked:
    """A network before (`moment="before"`) or after its scales were found."""

    def made(module: nn.Module, *, weights: Any = "int4", moment: str = "after", samples: int = 48) -> Work:
        images = torch.randn(samples, *SHAPE, generator=torch.Generator().manual_seed(1))
        spec = TensorSpec("image", ("batch", *SHAPE))
        model = probe.model(module.eval(), Source("test"), (spec,))
        context = Context(Images(images), Limits(EVERY, EVERY), 0, model, tmp_path)
        folded = graph.fold(graph.capture(model), biases=True)
        work = Work(folded, folded, model, samples, context)
        return work if moment == "before" else quantized(work, weights)

    return made


def quantized(work: Work, weights: Any = "int4") -> Work:
    """The work of the later moment."""
    with quiet():
        float_graph = deepcopy(work.graph)
    prepared = graph.prepare(work.graph, fixed.annotator(Scheme(Precision(weights=weights)), "minmax", "mse"))
    graph.fix_weights(prepared)
    for batch in work.batches():
        prepared(*batch)
    graph.fix_activations(prepared)
    return replace(work, graph=prepared, folded=float_graph, notes=[])


def outputs(module: nn.Module, work: Work) -> Tensor:
    """What a graph gives for the calibration samples."""
    with torch.no_grad():
        found = [module(*batch) for batch in work.batches()]
    return torch.cat([one[0] if isinstance(one, tuple) else one for one in found])


def network(*layers: nn.Module, seed: int = 0) -> nn.Module:
    """Layers in a row, their weights drawn, batch norms as if they had seen data."""
    generator = torch.Generator().manual_seed(seed)
    module = nn.Sequential(*layers)
    for parameter in module.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) * 0.3
    for one in module.modules():
        if isinstance(one, nn.BatchNorm2d):
            one.weight.data = torch.rand(one.weight.shape, generator=generator) + 0.5
            assert one.running_var is not None
            one.running_var.copy_(torch.rand(one.running_var.shape, generator=generator) + 0.5)
    return module


def small(activation: type[nn.Module] = nn.ReLU, seed: int = 0) -> nn.Module:
    """Convolution, depthwise and grouped convolution, pooling, linear layer."""
    return network(
        nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), activation(),
        nn.Conv2d(8, 8, 3, stride=2, padding=1, groups=8, bias=False), nn.BatchNorm2d(8), activation(),
        nn.Conv2d(8, 12, 1, groups=2), activation(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 5), seed=seed,
    )  # fmt: skip
