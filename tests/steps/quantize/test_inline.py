"""What runs under `torch.no_grad` or without autocast is part of the one graph."""

import torch
from torch import Tensor, nn

from paring.core.model import Source, TensorSpec
from paring.load import probe
from paring.steps.quantize import graph

HELD = {"wrap_with_set_grad_enabled", "wrap_with_autocast"}


class Rotary(nn.Module):
    """Positions under both, one inside the other, as language models compute them."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 8)
        self.register_buffer("steps", torch.linspace(0.1, 1.0, 8))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, tokens, 8) -> the same."""
        with torch.no_grad(), torch.autocast("cpu", enabled=False):
            angles = torch.arange(x.shape[1])[:, None] * self.steps
            sine, cosine = angles.sin(), angles.cos()
        y = self.linear(x)
        return y * cosine + y.flip(-1) * sine


def test_inner_graphs_are_inlined_and_their_constants_fold() -> None:
    torch.manual_seed(0)
    module = Rotary().eval()
    model = probe.model(module, Source("test"), (TensorSpec.of("x", (5, 8)),))
    captured = graph.capture(model)
    assert not {str(node.target) for node in captured.graph.nodes} & HELD
    assert "aten.sin.default" in {str(node.target) for node in captured.graph.nodes}
    x = torch.randn(3, 5, 8)
    torch.testing.assert_close(captured(x), module(x))


def test_what_runs_under_autocast_stays_as_it_is() -> None:
    class Half(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            with torch.autocast("cpu", dtype=torch.bfloat16):
                return self.linear(x)

    model = probe.model(Half().eval(), Source("test"), (TensorSpec.of("x", (4,), "float32"),))
    captured = graph.capture(model, proven=False)
    assert "wrap_with_autocast" in {str(node.target) for node in captured.graph.nodes}
