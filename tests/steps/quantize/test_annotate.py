"""Where numbers become int8."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import pytest
import torch
from torch import Tensor, nn
from torch.fx import GraphModule

from paring.core.model import Source, TensorSpec
from paring.load import probe
from paring.steps.quantize import graph
from paring.steps.quantize.annotate import Annotator
from paring.steps.quantize.observers import specs_of
from paring.steps.quantize.scheme import FLOAT, Scheme


class Forward(nn.Module):
    """Two convolutions, and something after, between or around them."""

    def __init__(self, forward: Callable[[nn.Module, Tensor], Tensor]) -> None:
        super().__init__()
        self.one = nn.Conv2d(3, 4, 3, padding=1)
        self.two = nn.Conv2d(4, 4, 1)
        self.norm = nn.BatchNorm2d(4)
        self.linear = nn.Linear(4, 5)
        self.run = forward

    def forward(self, x: Tensor) -> Tensor:
        return self.run(self, x)


def quantized(forward: Callable[..., Tensor], keep_float: tuple[str, ...] = ()) -> tuple[GraphModule, Annotator]:
    model = probe.model(Forward(forward), Source("test"), (TensorSpec("image", ("batch", 3, 8, 8)),))
    annotator = Annotator(specs_of(Scheme(layers=dict.fromkeys(keep_float, FLOAT))))
    prepared = graph.prepare(graph.fold(graph.capture(model)), annotator)
    with torch.inference_mode():
        prepared(torch.randn(4, 3, 8, 8))
    return graph.convert(prepared), annotator


def operators(found: GraphModule) -> list[str]:
    """The operators of the graph in order: q and d for the two halves of a quantization of an activation."""
    names = []
    for node in found.graph.nodes:
        if node.op == "call_function":
            name = str(node.target).split(".")[1]
            if "per_channel" in name:
                continue
            names.append({"quantize_per_tensor": "q", "dequantize_per_tensor": "d"}.get(name, name))
    return names


RELU6 = nn.functional.relu6


@pytest.mark.parametrize(
    "activation", [torch.relu, RELU6, nn.functional.hardtanh, lambda x: nn.functional.hardtanh(x, 0.0, 6.0)]
)
def test_a_convolution_is_rounded_behind_its_activation_only(activation: Callable[[Tensor], Tensor]) -> None:
    found, annotator = quantized(lambda m, x: activation(m.norm(m.one(x))))
    names = operators(found)
    at = names.index("conv2d")
    assert names[at + 2] == "q"  # convolution, activation, and then the rounding
    assert annotator.layers == ["one"]
    assert not annotator.skipped


def test_an_activation_that_is_not_the_only_user_is_not_fused() -> None:
    found, _ = quantized(lambda m, x: torch.relu(y := m.one(x)) + y)
    names = operators(found)
    assert names[names.index("conv2d") + 1] == "q"


def test_a_residual_is_rounded_once_on_each_side() -> None:
    found, annotator = quantized(lambda m, x: (y := m.one(x)) + m.two(y))
    assert operators(found).count("add") == 1
    assert operators(found)[-2:] == ["q", "d"]
    assert annotator.layers == ["one", "two"]


@pytest.mark.parametrize(
    "move",
    [
        lambda x: nn.functional.pad(x, (1, 1, 1, 1)),
        lambda x: nn.functional.max_pool2d(x, 2),
        lambda x: nn.functional.avg_pool2d(x, 2),
        lambda x: x.permute(0, 1, 3, 2),
        lambda x: x.reshape(x.shape[0], 4, 64, 1),
        lambda x: x[:, :, 2:],
        lambda x: nn.functional.interpolate(x, scale_factor=2),
    ],
)
def test_what_only_moves_values_passes_its_scale_on(move: Callable[[Tensor], Tensor]) -> None:
    found, annotator = quantized(lambda m, x: m.two(move(torch.relu(m.one(x)))))
    scales = [node.args[1:3] for node in found.graph.nodes if "dequantize_per_tensor" in str(node.target)]
    # input, then one scale for what the first convolution gives and all that is moved of it, then the output
    assert len(dict.fromkeys(scales)) == 3
    assert not annotator.skipped


def test_a_moved_input_has_one_scale() -> None:
    found, annotator = quantized(lambda m, x: m.one(nn.functional.pad(x, (1, 1, 1, 1))))
    scales = [node.args[1:3] for node in found.graph.nodes if "dequantize_per_tensor" in str(node.target)]
    assert len(dict.fromkeys(scales)) == 2
    assert not annotator.skipped


def test_what_is_joined_has_one_scale() -> None:
    found, _ = quantized(lambda m, x: torch.cat([torch.relu(m.one(x)), x], 1))
    scales = [node.args[1:3] for node in found.graph.nodes if "dequantize_per_tensor" in str(node.target)]
    assert scales[-1] == scales[-2]


def test_a_softmax_has_the_scale_that_kernels_demand() -> None:
    found, _ = quantized(lambda m, x: m.linear(m.one(x).mean((2, 3))).softmax(-1))
    last = [node for node in found.graph.nodes if "dequantize_per_tensor" in str(node.target)][-1]
    assert last.args[1:3] == (1 / 256, -128)


def test_what_has_no_rule_stays_in_float_and_is_named() -> None:
    found, annotator = quantized(lambda m, x: m.two(torch.erf(m.one(x))))
    names = operators(found)
    at = names.index("erf")
    assert names[at - 1] == "d"
    assert [(skipped.reason) for skipped in annotator.skipped] == ["aten.erf.default has no int8 rule"]


def test_a_layer_can_be_kept_in_float() -> None:
    found, annotator = quantized(lambda m, x: m.two(torch.relu(m.one(x))), keep_float=("two",))
    assert annotator.layers == ["one"]
    assert "two" in {skipped.layer for skipped in annotator.skipped}
    assert graph.weight_scales(found).keys() == {"one"}


def test_a_weight_that_the_network_computes_stays_in_float() -> None:
    def forward(m: Any, x: Tensor) -> Tensor:  # whose answers depend on the batch, which the doors refuse
        return nn.functional.conv2d(m.one(x), m.two(m.one(x)).mean((0, 2, 3)).reshape(1, 4, 1, 1))

    model = probe.model(Forward(lambda m, x: m.one(x)), Source("test"), (TensorSpec("image", ("batch", 3, 8, 8)),))
    annotator = Annotator(specs_of(Scheme()))
    graph.prepare(graph.capture(replace(model, module=Forward(forward))), annotator)
    assert any("computed by the network" in skipped.reason for skipped in annotator.skipped)


@pytest.mark.parametrize("method", ["minmax", "mse"])
def test_a_transposed_convolution_has_its_channels_on_the_other_axis(method: Literal["minmax", "mse"]) -> None:
    weight = torch.randn(4, 6, 2, 2) * torch.arange(1, 7).reshape(1, 6, 1, 1)
    module = nn.ConvTranspose2d(4, 6, 2, bias=False)
    module.weight.data = weight
    model = probe.model(nn.Sequential(module), Source("test"), (TensorSpec("image", ("batch", 4, 3, 3)),))
    prepared = graph.prepare(graph.capture(model), Annotator(specs_of(Scheme(), weights=method)))
    prepared(torch.randn(2, 4, 3, 3))
    (scales,) = graph.weight_scales(graph.convert(prepared)).values()
    share = torch.tensor(scales) / (weight.abs().amax((0, 2, 3)) / 127)
    assert share.max() < 1 + 1e-5
    assert share.min() > (1 - 1e-5 if method == "minmax" else 0.7)


@pytest.mark.parametrize(
    "pieces",
    [
        lambda x: x.chunk(2, 1),
        lambda x: x.split([2, 2], 1),
        lambda x: x.unflatten(1, (2, 2)).unbind(1),
        lambda x: (x.max(1, keepdim=True)[0], x.amin(1, keepdim=True)),
    ],
)
def test_a_piece_of_a_list_passes_its_scale_on(pieces: Callable[[Tensor], Any]) -> None:
    def forward(m: Any, x: Tensor) -> Tensor:
        left, right = pieces(m.one(x))
        y: Tensor = m.two(torch.cat([left, right, left, right], 1)[:, :4])
        return y

    found, annotator = quantized(forward)
    assert not annotator.skipped
    assert annotator.layers == ["one", "two"]
    scales = [node.args[1:3] for node in found.graph.nodes if "dequantize_per_tensor" in str(node.target)]
    assert len(dict.fromkeys(scales)) == 3


def skipped(forward: Callable[..., Any], *inputs: TensorSpec) -> dict[str, str]:
    class Network(Forward):
        def forward(self, *given: Tensor) -> Any:
            return self.run(self, *given)

    model = probe.model(Network(forward), Source("test"), inputs)
    annotator = Annotator(specs_of(Scheme()))
    graph.prepare(graph.capture(model), annotator)
    return {one.layer: one.reason for one in annotator.skipped}


def test_what_reads_a_recurrent_layer_is_no_mask() -> None:
    lstm = nn.LSTM(4, 4, batch_first=True)

    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm, self.linear = lstm, nn.Linear(4, 5)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.linear(self.lstm(x)[0])
            return y

    annotator = Annotator(specs_of(Scheme()))
    graph.prepare(graph.capture(probe.model(Recurrent(), Source("test"), (TensorSpec.of("x", (3, 4)),))), annotator)
    assert annotator.layers == ["linear"]
    assert "aten.lstm.input has no int8 rule" in {one.reason for one in annotator.skipped}


def test_an_image_of_whole_numbers_is_no_mask() -> None:
    image = TensorSpec("image", ("batch", 3, 8, 8), "uint8")
    assert not any("mask" in reason for reason in skipped(lambda m, x: m.one(x.float() / 255), image).values())


@pytest.mark.parametrize(
    "mask",
    [
        lambda scores, kept: scores + (1 - kept.float()) * -10000.0,
        lambda scores, kept: scores.masked_fill(kept == 0, float("-inf")),
        lambda scores, kept: torch.where(kept == 0, torch.finfo(torch.float32).min, scores),
        lambda scores, kept: scores + torch.zeros(kept.shape).masked_fill(kept == 0, -1e9),
    ],
)
def test_scores_behind_a_mask_stay_in_float(mask: Callable[[Tensor, Tensor], Tensor]) -> None:
    given = TensorSpec("x", ("batch", 3, 8, 8)), TensorSpec("kept", ("batch", 4, 8, 8), "int64")
    reasons = skipped(lambda m, x, kept: m.two(mask(m.one(x), kept).softmax(-1)), *given)
    assert any("aten.softmax.int of a mask" in reason for reason in reasons.values())


def test_a_transposed_convolution_in_groups_is_told() -> None:
    module = nn.Sequential(nn.ConvTranspose2d(4, 4, 2, groups=2), nn.Conv2d(4, 4, 1))
    annotator = Annotator(specs_of(Scheme()))
    model = probe.model(module, Source("test"), (TensorSpec("image", ("batch", 4, 3, 3)),))
    graph.prepare(graph.capture(model), annotator)
    assert annotator.layers == ["1"]
    assert [one.layer for one in annotator.skipped] == ["0"]
