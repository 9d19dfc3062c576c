"""What a network computes from its parameters alone is stored, and quantized as any weight."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations

from paring.core.model import Model, Source, TensorSpec
from paring.load import probe
from paring.steps.quantize import fixed, graph
from paring.steps.quantize.scheme import Scheme

SHAPE = (3, 8, 8)


class Standardized(nn.Conv2d):
    """Weights of mean 0 and deviation 1 (Qiao et al. 2019)."""

    def forward(self, input: Tensor) -> Tensor:
        weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        return self._conv_forward(input, weight / (weight.std((1, 2, 3), keepdim=True) + 1e-5), self.bias)


class Functional(nn.Module):
    """A norm by tensors made on the way, and a scale that is learned as its logarithm."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.scale = nn.Conv2d(3, 4, 3), nn.Parameter(torch.tensor([0.3]))

    def forward(self, image: Tensor) -> Tensor:
        y = functional.batch_norm(self.conv(image), torch.ones(4), torch.full((4,), 2.0), eps=1e-3)
        return functional.linear(y.mean((2, 3)), self.conv.weight[:, :, 0, 0].t().contiguous()) * self.scale.exp()


class Expanded(nn.Module):
    """A token that is repeated for every sample, and a mask made of numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.token = nn.Conv2d(3, 4, 1), nn.Parameter(torch.randn(1, 1, 4))

    def forward(self, image: Tensor) -> Tensor:
        tokens = self.conv(image).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.token.expand(image.shape[0], -1, -1), tokens], 1)
        mask = torch.triu(torch.full((65, 65), -1e9), 1)
        return torch.softmax(tokens @ tokens.transpose(1, 2) + mask, -1) @ tokens


NETS: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "weight norm": (lambda: nn.Sequential(parametrizations.weight_norm(nn.Conv2d(3, 4, 3)), nn.BatchNorm2d(4)), 1),
    "spectral norm": (lambda: nn.Sequential(parametrizations.spectral_norm(nn.Conv2d(3, 4, 3))), 1),
    "orthogonal": (lambda: nn.Sequential(nn.Flatten(), parametrizations.orthogonal(nn.Linear(192, 8))), 1),
    "standardized": (lambda: nn.Sequential(Standardized(3, 4, 3), nn.ReLU(), Standardized(4, 4, 3)), 2),
    "functional": (Functional, 2),
    "expanded": (Expanded, 1),
}


def loaded(make: Callable[[], nn.Module]) -> Model:
    torch.manual_seed(0)
    return probe.model(make().eval(), Source("test"), (TensorSpec.of("image", SHAPE),))


@pytest.mark.parametrize("name", NETS)
def test_weights_that_are_computed_are_quantized(name: str) -> None:
    make, layers = NETS[name]
    model = loaded(make)
    folded = graph.fold(graph.capture(model), of=model)
    marks = fixed.annotator(Scheme())
    prepared = graph.prepare(folded, marks)
    assert len(marks.layers) == layers
    assert "its weight is computed by the network, not stored" not in [one.reason for one in marks.skipped]
    assert all(one.requires_grad is False for one in prepared.parameters())


def test_masks_and_expansions_are_left_as_they_are() -> None:
    folded = graph.fold(graph.capture(loaded(Expanded)))
    targets = [node.target for node in folded.graph.nodes]
    assert torch.ops.aten.expand.default in targets
    assert torch.ops.aten.full.default in targets
