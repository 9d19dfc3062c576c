"""What few bits promise, a `.tflite` holds: scales, sizes, kernels, answers."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from paring import load
from paring.core.codes import Codes
from paring.core.errors import ParingError
from paring.core.model import Json, Model, Source, TensorSpec
from paring.core.step import Context
from paring.core.target import Contents, one_sample
from paring.load import probe
from paring.measure.accuracy import sqnr
from paring.measure.answers import of_model
from paring.steps import STEPS
from paring.targets.litert import LiteRT
from paring.testing.models import TinyTask, tiny

TARGET = LiteRT()
_BERT = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 50,
    "max_position_embeddings": 32,
}  # fmt: skip
# step, options, dB that the file may be away from PyTorch's module: only `dynamic` rounds activations
MODES: list[tuple[str, dict[str, Json], float]] = [
    ("quantize.dynamic", {}, 30),
    ("quantize.dynamic", {"weights": "int4"}, 30),
    ("quantize.dynamic", {"weights": "int4", "block": 32}, 30),
    ("quantize.weights", {}, 100),
    ("quantize.weights", {"weights": "int4"}, 100),
    ("quantize.float16", {}, 100),
]


class Everything(nn.Module):
    """Each kind of layer that can be stored in few bits."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 16, 5, bias=False)
        self.norm = nn.BatchNorm2d(16)
        self.depthwise = nn.Conv2d(16, 16, 3, padding=1, groups=16)
        self.grouped = nn.Conv2d(16, 16, 1, groups=2)
        self.transposed = nn.ConvTranspose2d(16, 4, 2, stride=2)
        self.row = nn.Conv1d(4, 6, 3, padding=1)
        self.linear = nn.Linear(64, 32)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """float32, shape (batch, 3, 8, 8) -> (batch, 6, 32)."""
        x = torch.relu(self.norm(self.conv(x)))
        x = self.transposed(self.grouped(torch.relu(self.depthwise(x))))
        answer: torch.Tensor = self.linear(self.row(x.flatten(2)))
        return answer


def everything() -> Model:
    torch.manual_seed(0)
    network = Everything().eval()
    nn.init.uniform_(network.norm.weight, 0.5, 1.5)
    return probe.model(network, Source("test"), (TensorSpec("image", ("batch", 3, 8, 8), "float32", "NCHW"),))


def bert() -> Model:
    return load.open(f"hf:bert(config={_BERT}, length=8)")


def applied(model: Model, step: str, options: Mapping[str, Json], folder: Path) -> Model:
    technique = STEPS.load(step)()
    context = Context(TinyTask(), TARGET.limits, 0, model, folder)
    found: Model = technique.apply(model, technique.Config.model_validate(options), context)
    return found


def exported(model: Model, folder: Path) -> tuple[Contents, float, int]:
    """What the file holds, how far its answers are from PyTorch's in dB, its bytes."""
    file = TARGET.export(model, folder / "m.tflite")
    sample = one_sample(model.inputs)
    if model.inputs[0].layout:
        sample = {"image": np.random.default_rng(0).normal(size=(4, *model.inputs[0].shape[1:])).astype(np.float32)}
    found, wanted = TARGET.open(file).run(sample)["output"], of_model(model)(sample)["output"]
    return TARGET.describe(file), sqnr(wanted, found), file.stat().st_size


@pytest.mark.parametrize(
    ("make", "step", "options", "least"), [*((everything, *mode) for mode in MODES), (bert, *MODES[0])]
)
def test_the_file_holds_what_was_promised(
    make: Callable[[], Model], step: str, options: dict[str, Json], least: float, tmp_path: Path
) -> None:
    model = applied(make(), step, options, tmp_path)
    contents, apart, _ = exported(model, tmp_path)
    assert apart > least
    stored = {(one.dtype, one.scales) for one in contents.tensors if one.bytes}
    shapes = {(one.dtype, int(np.prod(one.shape))) for one in contents.tensors if one.bytes}
    for invariant in model.invariants:
        codes = Codes.from_json(invariant.value)
        scales = tuple(float(scale) for scale in np.array(codes.scales, np.float32))
        assert (codes.dtype, scales) in stored
        size = model.module.get_submodule(invariant.layer).get_parameter("weight").numel()
        assert (codes.dtype, size) in shapes
    dynamic = [one for one in model.invariants if one.value["activations"] == "dynamic"]
    integers = sum(count for name, count in contents.quantized.items() if name != "EMBEDDING_LOOKUP")
    assert integers == len(dynamic)
    assert not dynamic or "FULLY_CONNECTED" in contents.quantized
    assert make is bert or options or step != "quantize.dynamic" or "CONV_2D" in contents.quantized


def test_sizes_shrink_as_the_bits_do(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 256))
    model = probe.model(network.eval(), Source("test"), (TensorSpec("x", ("batch", 256)),))
    weights = 2 * 256 * 256
    for step, options, wanted in (
        ("quantize.dynamic", {}, weights),
        ("quantize.dynamic", {"weights": "int4"}, weights / 2),
        ("quantize.dynamic", {"weights": "int4", "block": 32}, weights / 2 + weights / 32 * 2),
        ("quantize.weights", {"weights": "int4"}, weights / 2),
        ("quantize.float16", {}, weights * 2),
    ):
        size = exported(applied(model, step, options, tmp_path), tmp_path)[2]
        assert wanted < size < wanted + 12_000


def test_a_weight_that_the_file_lacks_is_no_file(tmp_path: Path) -> None:
    model = applied(tiny(), "quantize.dynamic", {"only": ["classifier"]}, tmp_path)
    (invariant,) = model.invariants
    other = nn.Linear(8, 10)
    other.weight = model.module.get_submodule("classifier").weight  # type: ignore[assignment]
    module = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    module.register_module("classifier", other)
    module.forward = lambda x: module[1](module[0](x))  # type: ignore[method-assign]
    with pytest.raises(ParingError, match="came out in float") as caught:
        TARGET.export(replace(model, module=module.eval(), invariants=(invariant,)), tmp_path / "m.tflite")
    assert "classifier" in caught.value.problem
    assert not list(tmp_path.glob("*.tflite"))


def test_a_matrix_that_two_layers_share_is_read_by_each_in_its_way(tmp_path: Path) -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rows = nn.Embedding(50, 32)
            self.head = nn.Linear(32, 50, bias=False)
            self.head.weight = self.rows.weight

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            answer: torch.Tensor = self.head(self.rows(x))
            return answer

    model = probe.model(Tied().eval(), Source("test"), (TensorSpec("x", ("batch", 8), "int64", range=(0, 49)),))
    contents, apart, _ = exported(applied(model, "quantize.dynamic", {}, tmp_path), tmp_path)
    assert contents.quantized == {"EMBEDDING_LOOKUP": 1, "FULLY_CONNECTED": 1}
    assert apart > 30
    contents, apart, _ = exported(applied(model, "quantize.dynamic", {"only": ["rows"]}, tmp_path), tmp_path)
    assert contents.quantized == {"EMBEDDING_LOOKUP": 1}
    assert [name for name, _ in contents.in_float] == ["FULLY_CONNECTED"]
    assert apart > 100


def test_static_int4_weights_take_half_a_byte(tmp_path: Path) -> None:
    options: dict[str, Json] = {"weights": "int4", "calibration": {"samples": 32}}
    model = applied(tiny(), "quantize.static", options, tmp_path)
    contents, apart, _ = exported(model, tmp_path)
    assert apart > 25
    assert not contents.in_float
    weights = [one.dtype for one in contents.tensors if one.bytes and one.dtype in ("int8", "int4") and one.scales]
    assert weights == ["int4"] * 4
    assert "slower than with wider numbers" in model.history[-1].changed


class Normed(nn.Module):
    """Layer norms whose affine part the converter merges into the matrices behind them."""

    def __init__(self, *, residual: bool) -> None:
        super().__init__()
        self.residual = residual
        self.norm = nn.LayerNorm(16)
        self.first, self.second, self.last = nn.Linear(16, 16), nn.Linear(16, 16, bias=False), nn.Linear(16, 8)
        with torch.no_grad():
            self.norm.weight.copy_(torch.linspace(0.1, 3, 16))
            self.norm.bias.copy_(torch.linspace(-1, 1, 16))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """float32, shape (batch, 6, 16) -> (batch, 6, 8)."""
        x = self.norm(x)
        y = torch.relu(self.first(x)) * self.second(x)
        answer: torch.Tensor = self.last(x + y if self.residual else y)
        return answer


@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize("step", ["quantize.dynamic", "quantize.weights"])
def test_a_norm_merged_into_a_matrix_is_taken_out_again(tmp_path: Path, step: str, residual: bool) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        module = Normed(residual=residual).eval()
    ends = TensorSpec("x", ("batch", 6, 16)), TensorSpec("y", ("batch", 6, 8))
    model = Model(module, Source("torch:tests:normed"), ends[:1], ends[1:])
    found = applied(model, step, {}, tmp_path)
    path = TARGET.export(found, tmp_path / "normed.tflite")
    inputs = {"x": torch.randn(4, 6, 16, generator=torch.Generator().manual_seed(0)).numpy()}
    wanted, got = of_model(found)(inputs)["y"], TARGET.open(path).run(inputs)["y"]
    assert sqnr(wanted, got) > (30 if step == "quantize.dynamic" else 100)
    held = [one for one in TARGET.describe(path).tensors if one.bytes and len(one.shape) == 2]
    assert sorted(one.dtype for one in held) == ["int8"] * 3
    assert path.stat().st_size < TARGET.export(model, tmp_path / "float.tflite").stat().st_size
