"""Small networks with the blocks of public ones: what splits, gates and joins between convolutions."""

import torch
from torch import Tensor, nn

SHAPE = (3, 16, 16)


def _unit(inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.SiLU())


class _Excitation(nn.Module):
    def __init__(self, channels: int, gate: nn.Module) -> None:
        super().__init__()
        self.down, self.up, self.gate = nn.Conv2d(channels, 4, 1), nn.Conv2d(4, channels, 1), gate

    def forward(self, x: Tensor) -> Tensor:
        shares = self.up(nn.functional.silu(self.down(x.mean((2, 3), keepdim=True))))
        weighed: Tensor = x * self.gate(shares)
        return weighed


class EfficientNet(nn.Module):
    """Inverted bottlenecks with squeeze and excitation (Tan and Le 2019, arXiv:1905.11946)."""

    def __init__(self, gate: nn.Module | None = None) -> None:
        super().__init__()
        self.stem = _unit(3, 8, 3, 2)
        self.grow, self.depthwise = _unit(8, 16), _unit(16, 16, 3, groups=16)
        self.excitation = _Excitation(16, gate or nn.Sigmoid())
        self.shrink = nn.Sequential(nn.Conv2d(16, 8, 1, bias=False), nn.BatchNorm2d(8))
        self.head, self.classifier = _unit(8, 32), nn.Linear(32, 10)

    def forward(self, image: Tensor) -> Tensor:
        """Shape (batch, 10)."""
        x = self.stem(image)
        x = x + self.shrink(self.excitation(self.depthwise(self.grow(x))))
        logits: Tensor = self.classifier(self.head(x).mean((2, 3)))
        return logits


class MixNet(nn.Module):
    """Depthwise convolutions of several sizes, each on its part (Tan and Le 2019, arXiv:1907.09595)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = _unit(3, 16, 3, 2)
        self.mixed = nn.ModuleList(_unit(size, size, kernel, groups=size) for size, kernel in ((8, 3), (4, 5), (4, 7)))
        self.excitation = _Excitation(16, nn.Hardsigmoid())
        self.points = nn.ModuleList(nn.Conv2d(8, 8, 1) for _ in range(2))
        self.classifier = nn.Linear(16, 10)

    def forward(self, image: Tensor) -> Tensor:
        """Shape (batch, 10)."""
        x = self.stem(image)
        x = torch.cat([unit(part) for unit, part in zip(self.mixed, x.split([8, 4, 4], 1), strict=True)], 1)
        x = self.excitation(x)
        x = torch.cat([unit(part) for unit, part in zip(self.points, x.chunk(2, 1), strict=True)], 1)
        logits: Tensor = self.classifier(nn.functional.adaptive_avg_pool2d(x, 1).flatten(1))
        return logits


class ShuffleNet(nn.Module):
    """Half of the channels passes, and both halves are shuffled (Ma et al. 2018, arXiv:1807.11164)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = _unit(3, 16, 3, 2)
        self.branches = nn.ModuleList(nn.Sequential(_unit(8, 8), _unit(8, 8, 3, groups=8)) for _ in range(2))
        self.classifier = nn.Linear(16, 10)

    def forward(self, image: Tensor) -> Tensor:
        """Shape (batch, 10)."""
        x = nn.functional.max_pool2d(self.stem(image), 2)
        for branch in self.branches:
            left, right = x.chunk(2, dim=1)
            x = torch.cat([left, branch(right)], 1)
            x = x.view(-1, 2, 8, 4, 4).transpose(1, 2).reshape(-1, 16, 4, 4)
        logits: Tensor = self.classifier(x.amax((2, 3)))
        return logits


class CSPDarknet(nn.Module):
    """Halves that meet again, every step of one of them kept (C2f of YOLOv8), and pools of growing reach."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = _unit(3, 16, 3, 2)
        self.steps = nn.ModuleList(nn.Sequential(_unit(8, 8, 3), _unit(8, 8, 3)) for _ in range(2))
        self.join, self.pooled = _unit(32, 16), _unit(48, 16)
        self.classifier = nn.Conv2d(16, 6, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Shape (batch, 6, 16, 16)."""
        parts = list(self.stem(image).split((8, 8), 1))
        for step in self.steps:
            parts.append(parts[-1] + step(parts[-1]))
        x = self.join(torch.cat(parts, 1))
        near = nn.functional.max_pool2d(x, 5, 1, 2)
        x = self.pooled(torch.cat([x, near, nn.functional.max_pool2d(near, 5, 1, 2)], 1))
        found: Tensor = self.classifier(nn.functional.interpolate(x, scale_factor=2.0))
        return found
