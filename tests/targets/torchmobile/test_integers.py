"""Operators between a dequantization and a quantization run on codes, and give what floats would."""

from collections.abc import Callable
from io import BytesIO

import pytest
import torch
from torch import Tensor, nn
from torch.jit import mobile
from torch.nn import functional

from paring.core.quiet import quiet
from paring.targets.torchmobile import script
from paring.targets.torchmobile.contents import contents_of
from paring.targets.torchmobile.engine import engine
from paring.targets.torchmobile.graph import Network
from paring.targets.torchmobile.integers import on_codes

codes = torch.ops.quantized_decomposed
FINE, COARSE = (0.03, 3), (0.05, -20)


def rounded(x: Tensor, scale: tuple[float, int] = FINE) -> Tensor:
    """The values that codes of int8 have left of these."""
    kept = codes.quantize_per_tensor(x, *scale, -128, 127, torch.int8)
    return codes.dequantize_per_tensor(kept, *scale, -128, 127, torch.int8)


class Between(nn.Module):
    """Something with quantized values in front of it and behind."""

    def __init__(self, does: Callable[..., Tensor], gives: tuple[float, int]) -> None:
        super().__init__()
        self.does, self.gives = does, gives
        chance = torch.Generator().manual_seed(0)
        for name, shape in {"matrix": (6, 8), "row": (5, 4, 3), "image": (4, 2, 3, 3)}.items():
            held = torch.randint(-127, 128, shape, generator=chance, dtype=torch.int8)
            self.register_buffer(name, held)
            self.register_buffer(f"{name}_scales", torch.linspace(0.002, 0.004, shape[0]))
            self.register_buffer(f"{name}_zeros", torch.zeros(shape[0], dtype=torch.int64))
            self.register_buffer(f"{name}_bias", torch.linspace(-1, 1, shape[0]))

    def weight(self, name: str) -> tuple[Tensor, Tensor]:
        """Weight and bias, with a scale for each channel."""
        held = (self.get_buffer(f"{name}{end}") for end in ("", "_scales", "_zeros"))
        return codes.dequantize_per_channel(*held, 0, -127, 127, torch.int8), self.get_buffer(f"{name}_bias")

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """float32, shape (1, 4, 8, 8) each."""
        return rounded(self.does(self, rounded(x), rounded(y, COARSE)), self.gives)


def conv1d(net: Between, x: Tensor, y: Tensor) -> Tensor:
    return functional.conv1d(x[:, :, 0], *net.weight("row"), stride=2, padding=1)


def conv2d(net: Between, x: Tensor, y: Tensor) -> Tensor:
    return functional.conv2d(x, *net.weight("image"), padding=(1, 0), dilation=2, groups=2)


def linear(net: Between, x: Tensor, y: Tensor) -> Tensor:
    return functional.linear(x, *net.weight("matrix"))


NON_NEGATIVE, SIX, WIDE = (0.02, -128), (6 / 255, -128), (0.1, 0)
CASES: dict[str, tuple[Callable[..., Tensor], tuple[float, int], list[str]]] = {
    "conv1d": (conv1d, COARSE, ["select", "conv1d"]),
    "conv2d": (conv2d, COARSE, ["conv2d"]),
    "linear": (linear, COARSE, ["linear"]),
    "relu that the codes imply": (lambda n, x, y: conv2d(n, x, y).relu(), NON_NEGATIVE, ["conv2d"]),
    "relu": (lambda n, x, y: conv2d(n, x, y).relu(), WIDE, ["conv2d_relu"]),
    "relu of a row": (lambda n, x, y: conv1d(n, x, y).relu(), WIDE, ["select", "conv1d_relu"]),
    "relu of a matrix": (lambda n, x, y: linear(n, x, y).relu(), WIDE, ["linear_relu"]),
    "relu6 that the codes imply": (lambda n, x, y: functional.relu6(conv2d(n, x, y)), SIX, ["conv2d"]),
    "relu6": (lambda n, x, y: functional.relu6(3 * x + linear(n, x, y).sum()), WIDE, []),
    "relu6 of a layer": (lambda n, x, y: functional.relu6(linear(n, x, y)), WIDE, ["linear_relu", "clamp"]),
    "limits of a layer": (lambda n, x, y: linear(n, x, y).clamp(-1, 1), WIDE, ["linear", "clamp"]),
    "sum": (lambda n, x, y: x + y, WIDE, ["add"]),
    "sum with itself": (lambda n, x, y: x + x, WIDE, ["add"]),
    "sum, then relu": (lambda n, x, y: (x + y).relu(), WIDE, ["add_relu"]),
    "sum of other shapes": (lambda n, x, y: x + y[:, :, :1, :1], WIDE, []),
    "sum of which one part hardly counts": (lambda n, x, y: x + y, (0.0001, 0), []),
    "sum with a factor": (lambda n, x, y: torch.add(x, y, alpha=2), WIDE, []),
    "product": (lambda n, x, y: x * y, WIDE, ["mul"]),
    "product with one value a channel": (lambda n, x, y: x * y[:, :, :1, :1], WIDE, ["slice", "slice", "mul"]),
    "product, then relu": (lambda n, x, y: (x * y).relu(), WIDE, ["mul_relu"]),
    "product with a number": (lambda n, x, y: x * 2.0, WIDE, []),
    "concatenation": (lambda n, x, y: torch.cat([x, y], 1), WIDE, ["cat"]),
    "hardswish": (lambda n, x, y: functional.hardswish(x), COARSE, ["hardswish"]),
    "sigmoid": (lambda n, x, y: x.sigmoid(), (1 / 256, -128), ["sigmoid"]),
    "sigmoid of another scale": (lambda n, x, y: x.sigmoid(), (0.005, -128), ["sigmoid"]),
    "leaky relu": (lambda n, x, y: functional.leaky_relu(x, 0.1), COARSE, ["leaky_relu"]),
    "elu": (lambda n, x, y: functional.elu(x, 0.5), COARSE, ["elu"]),
    "hardsigmoid": (lambda n, x, y: functional.hardsigmoid(x), (1 / 256, -128), ["hardsigmoid"]),
    "hardsigmoid of another scale": (lambda n, x, y: functional.hardsigmoid(x), (0.005, -128), []),
    "tanh": (lambda n, x, y: x.tanh(), (2 / 256, 0), ["tanh"]),
    "mean": (lambda n, x, y: x.mean((2, 3)), FINE, ["mean"]),
    "mean of another scale": (lambda n, x, y: x.mean((2, 3)), COARSE, []),
    "average": (lambda n, x, y: functional.avg_pool2d(x, 2), FINE, ["avg_pool2d"]),
    "average of all": (lambda n, x, y: functional.adaptive_avg_pool2d(x, 1), FINE, ["adaptive_avg_pool2d"]),
    "largest": (lambda n, x, y: functional.max_pool2d(x, 2), FINE, ["max_pool2d"]),
    "relu alone": (lambda n, x, y: x.relu(), FINE, ["relu"]),
    "border": (lambda n, x, y: functional.pad(x, (1, 0, 0, 2)), FINE, ["pad"]),
    "moves": (lambda n, x, y: x.permute(0, 2, 3, 1).flatten(1)[:, 3:], FINE, ["permute", "flatten", "slice"]),
    "moves in front of a layer": (lambda n, x, y: linear(n, x.transpose(1, 2), y), COARSE, ["transpose", "linear"]),
    "silu": (lambda n, x, y: functional.silu(x), COARSE, []),
}


@pytest.mark.parametrize("case", CASES)
def test_it_runs_on_codes_where_there_is_a_kernel(case: str) -> None:
    does, gives, kernels = CASES[case]
    network = Between(does, gives).eval()
    chance = torch.Generator().manual_seed(1)
    given = tuple(2 * torch.randn(1, 4, 8, 8, generator=chance) for _ in range(2))
    graph = torch.export.export(network, given, strict=False).module(check_guards=False)
    wanted = network(*given)
    with quiet(), engine(), torch.inference_mode(False), torch.no_grad():
        on_codes(graph)
        found = graph(*given)
    called = [str(n.target).split(".")[1] for n in graph.graph.nodes if n.op == "call_function"]
    plain = {"quantize_per_tensor", "dequantize"}
    if kernels:
        assert [name for name in called if name not in plain] == kernels
    else:  # in float, between the one and the other
        assert "quantized." not in str([n.target for n in graph.graph.nodes])
        assert called[-2] == "quantize_per_tensor"
    assert (found - wanted).abs().max() <= 1.01 * gives[0]
    assert ((found - wanted).abs() > 0.5 * gives[0]).float().mean() < 0.05


def test_a_layer_without_a_kernel_keeps_its_weight_in_codes() -> None:
    does = lambda n, x, y: functional.conv_transpose2d(x, n.weight("image")[0])  # noqa: E731
    network = Between(does, WIDE).eval()
    given = (torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1)), torch.zeros(1, 4, 8, 8))
    graph = torch.export.export(network, given, strict=False).module(check_guards=False)
    with quiet(), engine(), torch.inference_mode(False), torch.no_grad():
        on_codes(graph)
    called = script.function(Network(graph), given, "trace")
    content = script.written(script.module(called, given, ["x", "y"]), {})
    held = contents_of(content)
    assert [(kind, name) for kind, name in held.in_float if "conv" in kind] == [
        ("aten::_convolution", "conv_transpose2d")
    ]
    (weight,) = (one for one in held.tensors if one.dtype == "int8")
    assert weight.scales == tuple(map(float, network.get_buffer("image_scales")))
    with quiet(), engine():
        answer = mobile._load_for_lite_interpreter(BytesIO(content))(*given)
    assert (answer - network(*given)).abs().max() <= 1.01 * WIDE[0]
