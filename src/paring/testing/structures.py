"""Networks whose layers depend on each other in every way that a step which cuts channels must know."""

import torch
from torch import Tensor, nn


def _unit(inputs: int, outputs: int, kernel: int = 3, groups: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, groups=groups, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU())


class _Images(nn.Module):
    """Takes float32 of shape (batch, 1, 8, 8)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = _unit(1, 16)


class Concatenation(_Images):
    """Two branches side by side, then what they came from beside both."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = _unit(16, 16), _unit(16, 8, 1)
        self.last = _unit(40, 16)
        self.classifier = nn.Linear(16, 10)

    def forward(self, image: Tensor) -> Tensor:
        """Shape (batch, 10)."""
        x = self.stem(image)
        x = torch.cat([x, self.left(x), self.right(x)], 1)
        logits: Tensor = self.classifier(self.last(x).mean((2, 3)))
        return logits


class Grouped(_Images):
    """A convolution in four groups, and a group norm."""

    def __init__(self) -> None:
        super().__init__()
        self.body = _unit(16, 32, groups=4)
        self.expand = nn.Conv2d(32, 32, 1)
        self.norm = nn.GroupNorm(4, 32)
        self.multiplied = nn.Conv2d(32, 64, 3, padding=1, groups=32)
        self.classifier = nn.Linear(64, 10)

    def forward(self, image: Tensor) -> Tensor:
        """Shape (batch, 10)."""
        x = self.norm(self.expand(self.body(self.stem(image)))).relu()
        logits: Tensor = self.classifier(self.multiplied(x).relu().mean((2, 3)))
        return logits


class Shared(_Images):
    """One layer that runs twice, and two linear layers with one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.body = _unit(16, 16)
        self.first, self.second = nn.Linear(16, 16), nn.Linear(16, 16)
        self.second.weight = self.first.weight
        self.classifier = nn.Linear(16, 10)

    def forward(self, image: Tensor) -> Tensor:
        """Shape (batch, 10)."""
        x = self.body(self.body(self.stem(image))).mean((2, 3))
        logits: Tensor = self.classifier(self.second(self.first(x).relu()).relu())
        return logits


class Chain(_Images):
    """Residual blocks in a row, one with another width, flattened at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(_unit(16, 16) for _ in range(3))
        self.down, self.shortcut = nn.Conv2d(16, 24, 3, stride=4, padding=1), nn.Conv2d(16, 24, 1, stride=4)
        self.hidden = nn.Linear(24 * 4, 32)
        self.classifier = nn.Linear(32, 10)

    def forward(self, image: Tensor) -> Tensor:
        """Shape (batch, 10)."""
        x = self.stem(image)
        for block in self.blocks:
            x = x + block(x)
        x = torch.relu(self.down(x) + self.shortcut(x))
        logits: Tensor = self.classifier(self.hidden(x.flatten(1)).relu())
        return logits


class Heads(_Images):
    """Two answers, one of which others read too, and a gate over channels (squeeze and excitation)."""

    def __init__(self) -> None:
        super().__init__()
        self.body = _unit(16, 16)
        self.squeeze, self.excite = nn.Conv2d(16, 8, 1), nn.Conv2d(8, 16, 1)
        self.boxes = nn.Conv2d(16, 4, 1)
        self.classifier = nn.Linear(4, 10)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Shapes (batch, 10) and (batch, 4, 8, 8)."""
        x = self.body(self.stem(image))
        x = x * torch.sigmoid(self.excite(torch.relu(self.squeeze(x.mean((2, 3), keepdim=True)))))
        boxes = self.boxes(x)
        return self.classifier(boxes.mean((2, 3))), boxes


class Recurrent(nn.Module):
    """A linear layer, an LSTM over the rows of an image, and a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(8, 16)
        self.lstm = nn.LSTM(16, 16, batch_first=True)
        self.classifier = nn.Linear(16, 10)

    def forward(self, image: Tensor) -> Tensor:
        """float32, shape (batch, 1, 8, 8) -> (batch, 10)."""
        states, _ = self.lstm(self.embed(image[:, 0]).relu())
        logits: Tensor = self.classifier(states.mean(1))
        return logits


class UpAndDown(_Images):
    """A transposed convolution, a learned slope, and a shuffle of channels."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(16, 16, 2, stride=2)
        self.slope = nn.PReLU(16)
        self.down = _unit(16, 16)
        self.shuffled = nn.Conv2d(16, 16, 1)
        self.classifier = nn.Linear(16, 10)

    def forward(self, image: Tensor) -> Tensor:
        """Shape (batch, 10)."""
        x = self.down(self.slope(self.up(self.stem(image))))
        batch, channels, height, width = x.shape
        x = x.view(batch, 2, channels // 2, height, width).transpose(1, 2).reshape(batch, channels, height, width)
        logits: Tensor = self.classifier(torch.relu(self.shuffled(x)).mean((2, 3)))
        return logits


class Attention(nn.Module):
    """One layer of torch's own transformer over the rows of an image, with a learned position and token."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(8, 16)
        self.position = nn.Parameter(torch.randn(1, 9, 16) / 4)
        self.token = nn.Parameter(torch.randn(1, 1, 16) / 4)
        self.layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        self.classifier = nn.Linear(16, 10)

    def forward(self, image: Tensor) -> Tensor:
        """float32, shape (batch, 1, 8, 8) -> (batch, 10)."""
        x = torch.cat([self.token.expand(len(image), -1, -1), self.embed(image[:, 0])], 1) + self.position
        logits: Tensor = self.classifier(self.layer(x)[:, 0])
        return logits


def _seen(network: nn.Module) -> nn.Module:
    """With batch norms that have seen data."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.uniform_(module.running_mean, -0.5, 0.5)
            nn.init.uniform_(module.weight, 0.5, 1.5)
    return network


def concatenation() -> nn.Module:
    """A `Concatenation`."""
    return _seen(Concatenation())


def grouped() -> nn.Module:
    """A `Grouped`."""
    return _seen(Grouped())


def shared() -> nn.Module:
    """A `Shared`."""
    return _seen(Shared())


def chain() -> nn.Module:
    """A `Chain`."""
    return _seen(Chain())


def heads() -> nn.Module:
    """A `Heads`."""
    return _seen(Heads())


def recurrent() -> nn.Module:
    """A `Recurrent`."""
    return Recurrent()


def up_and_down() -> nn.Module:
    """An `UpAndDown`."""
    return _seen(UpAndDown())


def attention() -> nn.Module:
    """An `Attention`."""
    return Attention()
