"""Networks for contract suites."""

from collections.abc import Callable

import torch
from torch import Tensor, nn


class TinyNetwork(nn.Module):
    """Convolution, depthwise convolution, batch norm, ReLU6, a residual, pooling and a classifier, in small."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 8, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU6())
        self.body = nn.Sequential(
            nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False), nn.BatchNorm2d(8), nn.ReLU6(), nn.Conv2d(8, 8, 1)
        )
        self.classifier = nn.Linear(8, 10)

    def forward(self, image: Tensor) -> Tensor:
        """float32, shape (batch, 1, 8, 8) -> (batch, 10)."""
        x = self.stem(image)
        x = x + self.body(x)
        logits: Tensor = self.classifier(x.mean((2, 3)))
        return logits


def tiny_network() -> nn.Module:
    """A `TinyNetwork` whose batch norms have seen data, so that folding them is put to the test."""
    network = TinyNetwork()
    see_data(network)
    with torch.no_grad():
        network.classifier.weight.mul_(4.0)  # answers that differ from each other
    return network


def see_data(network: nn.Module) -> None:
    """Draws statistics and factors of batch norms, in place, as if they had seen data."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor, low, high in (
                (module.running_var, 0.5, 1.5),
                (module.running_mean, -1, 1),
                (module.weight, 0.5, 1.5),
            ):
                assert tensor is not None
                nn.init.uniform_(tensor, low, high)


class Strange(nn.Module):
    """A layer around an operator that runtimes for devices lack."""

    def __init__(self, operator: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.operator = operator

    def forward(self, x: Tensor) -> Tensor:
        """What the operator gives."""
        return self.operator(x)


class StrangeNetwork(nn.Module):
    """A classifier behind two layers that no target has."""

    def __init__(self) -> None:
        super().__init__()
        self.strange = Strange(torch.special.bessel_j0)
        self.stranger = Strange(torch.special.airy_ai)
        self.classifier = nn.Linear(64, 10)

    def forward(self, image: Tensor) -> Tensor:
        """float32, shape (batch, 1, 8, 8) -> (batch, 10)."""
        logits: Tensor = self.classifier(self.stranger(self.strange(image)).flatten(1))
        return logits


def strange_network() -> nn.Module:
    """A `StrangeNetwork`."""
    return StrangeNetwork()


@torch.library.custom_op("paring_testing::strange", mutates_args=())
def _elsewhere(x: Tensor) -> Tensor:
    """An operator of another library than PyTorch."""
    return x.sin()


@_elsewhere.register_fake
def _(x: Tensor) -> Tensor:
    return torch.empty_like(x)


def foreign_network() -> nn.Module:
    """A `StrangeNetwork` whose operators are of another library than PyTorch."""
    network = StrangeNetwork()
    network.strange, network.stranger = Strange(_elsewhere), Strange(_elsewhere)
    return network


class TransformerNetwork(nn.Module):
    """An image is read row by row, by two of torch's transformer layers."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, dim_feedforward=32, dropout=0.0, batch_first=True)
        self.layers = nn.ModuleList([layer, nn.TransformerEncoderLayer(8, 2, 32, 0.0, batch_first=True)])
        self.classifier = nn.Linear(8, 10)

    def forward(self, image: Tensor) -> Tensor:
        """float32, shape (batch, 1, 8, 8) -> (batch, 10)."""
        x = image[:, 0]
        for layer in self.layers:
            x = layer(x)
        logits: Tensor = self.classifier(x.mean(1))
        return logits


def transformer_network() -> nn.Module:
    """A `TransformerNetwork`."""
    return TransformerNetwork()


class Residual(nn.Module):
    """A convolution with a path around it, so that the block could go."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """As many channels as there were."""
        found: Tensor = x + self.norm(self.convolution(x)).relu()
        return found


class ResidualNetwork(nn.Module):
    """Something for every step on convolutions and linear layers: three residual blocks, and two linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 16, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        self.blocks = nn.Sequential(*(Residual(16) for _ in range(3)))
        self.hidden = nn.Linear(16, 32)
        self.classifier = nn.Linear(32, 10)

    def forward(self, image: Tensor) -> Tensor:
        """float32, shape (batch, 1, 8, 8) -> (batch, 10)."""
        x = self.blocks(self.stem(image)).mean((2, 3))
        logits: Tensor = self.classifier(self.hidden(x).relu())
        return logits


def residual_network() -> nn.Module:
    """A `ResidualNetwork` whose batch norms have seen data."""
    network = ResidualNetwork()
    see_data(network)
    return network


class AttentionLayer(nn.Module):
    """Self-attention of four heads, and a feed-forward layer, each with a path around it."""

    def __init__(self, features: int, num_heads: int = 4) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.norm = nn.LayerNorm(features)
        self.q_proj, self.k_proj, self.v_proj = (nn.Linear(features, features) for _ in range(3))
        self.o_proj = nn.Linear(features, features)
        self.fc1, self.fc2 = nn.Linear(features, 2 * features), nn.Linear(2 * features, features)

    def forward(self, x: Tensor) -> Tensor:
        """Shape (batch, tokens, features), as it was."""
        given = self.norm(x)
        q, k, v = (
            layer(given).unflatten(2, (self.num_heads, -1)).transpose(1, 2)
            for layer in (self.q_proj, self.k_proj, self.v_proj)
        )
        shares = (q @ k.transpose(2, 3) * q.shape[3] ** -0.5).softmax(3)
        x = x + self.o_proj((shares @ v).transpose(1, 2).flatten(2))
        found: Tensor = x + self.fc2(self.fc1(x).relu())
        return found


class HybridNetwork(nn.Module):
    """Something for steps on attention beside something for those on convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 16, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        self.blocks = nn.Sequential(Residual(16), Residual(16))
        self.layers = nn.Sequential(*(AttentionLayer(16) for _ in range(3)))
        self.classifier = nn.Linear(16, 10)

    def forward(self, image: Tensor) -> Tensor:
        """float32, shape (batch, 1, 8, 8) -> (batch, 10)."""
        x = self.blocks(self.stem(image)).flatten(2).transpose(1, 2)
        logits: Tensor = self.classifier(self.layers(x).mean(1))
        return logits


def hybrid_network() -> nn.Module:
    """A `HybridNetwork` whose batch norm has seen data."""
    network = HybridNetwork()
    see_data(network)
    return network
