"""A layer's output at some positions is what the operator gives there."""

import pytest
import torch
from torch import nn

from paring.core.model import Source, TensorSpec
from paring.load import probe
from paring.steps.quantize import graph
from paring.steps.quantize.repairs.adaround import product
from paring.steps.quantize.repairs.patches import groups_of, matrix, patches, positions


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")  # torch's, of its speed
@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Conv2d(6, 8, 3, stride=2, padding=1), (6, 9, 7)),
        (nn.Conv2d(6, 8, (3, 2), padding=(0, 2), dilation=(1, 2), groups=2), (6, 9, 7)),
        (nn.Conv2d(6, 6, 3, padding="same", groups=6), (6, 9, 7)),
        (nn.Conv2d(6, 6, 4, padding="same"), (6, 9, 7)),
        (nn.Conv1d(6, 8, 3, stride=2, padding=2), (6, 9)),
        (nn.Linear(6, 8), (6,)),
        (nn.Linear(6, 8), (4, 6)),
    ],
)
def test_patches_times_weight_are_the_layers_output(layer: nn.Module, shape: tuple[int, ...]) -> None:
    model = probe.model(nn.Sequential(layer).eval(), Source("test"), (TensorSpec("x", ("batch", *shape)),))
    (found,) = graph.weighted(graph.capture(model))
    generator = torch.Generator().manual_seed(0)
    inputs = [torch.randn(count, *shape, generator=generator) for count in (3, 2)]
    with torch.no_grad():
        whole = [layer(x) for x in inputs]
        axis = whole[0].ndim - 1 if isinstance(layer, nn.Linear) else 1
        wanted = torch.cat([one.movedim(axis, -1).flatten(0, -2) for one in whole])
        for count in (7, 10_000):
            at = positions(found.node, inputs, count, generator)
            starts = [0, whole[0].numel() // whole[0].shape[axis]]
            chosen = torch.cat([one + start for one, start in zip(at, starts, strict=True)])
            assert len(chosen) == min(count, len(wanted))
            groups = groups_of(found.node)
            given = product(patches(found.node, inputs, at), matrix(layer.weight, groups), layer.bias)
            torch.testing.assert_close(given.transpose(0, 1).flatten(1), wanted[chosen], rtol=1e-4, atol=1e-5)
