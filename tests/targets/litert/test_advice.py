"""What LiteRT runs outside XNNPACK is told from the graph, and is what the runtime does."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from paring import load
from paring.core.model import Model, Source, TensorSpec
from paring.targets.litert import LiteRT, contents
from paring.targets.litert.advice import left_to_litert
from paring.targets.traced import trace
from paring.testing.models import quantized, tiny

IMAGE = TensorSpec("image", ("batch", 8, 8, 8), "float32", "NCHW")


class Calls(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def model(function: Callable[[Tensor], Tensor], shape: tuple[int, ...] = (8, 8, 8)) -> Model:
    module = Calls(function).eval()
    inputs = (TensorSpec.of("image", shape),)
    return Model(module, Source("torch:calls"), inputs, (TensorSpec("output", ("batch",)),))


def told(made: Model) -> list[tuple[str, str]]:
    return [(one.severity, one.problem) for one in LiteRT().advise(made, trace(made)) if "XNNPACK" in one.problem]


def outside(path: Path) -> set[str]:
    """The operators of a file that LiteRT runs itself: those that are met going back from the outputs."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path))
    interpreter.allocate_tensors()
    made = {}
    # a delegate stands behind the operators that it took over, and makes the same tensors
    for one in interpreter._get_ops_details():
        made.update({int(tensor): one for tensor in one["outputs"]})
    waiting, found, seen = [one["index"] for one in interpreter.get_output_details()], set(), set()
    while waiting:
        one = made.get(int(waiting.pop()))
        if one is not None and one["index"] not in seen:
            seen.add(one["index"])
            found |= {one["op_name"]} - {"DELEGATE"}
            waiting += list(one["inputs"])
    return found


FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "argmax": lambda x: x.argmax(-1),
    "celu": functional.celu,
    "cumsum": lambda x: x.cumsum(-1),
    "elu": functional.elu,
    "group_norm": nn.GroupNorm(2, 8),
    "max_pool2d": nn.MaxPool2d(3, 2, 1),
    "mish": functional.mish,
    "pad": lambda x: functional.pad(x, (1, 1, 1, 1), mode="reflect"),
    "pow": lambda x: x**3,
    "scaled_dot_product_attention": lambda x: functional.scaled_dot_product_attention(x[:, 0], x[:, 0], x[:, 0]),
    "selu": functional.selu,
    "slice": lambda x: x[:, :, ::2, ::2],
    "softplus": functional.softplus,
    "upsample_nearest2d": lambda x: functional.interpolate(x, scale_factor=2, mode="nearest"),
    "where": lambda x: torch.where(x > 0, x, x * 2),
}


def test_every_row_on_float_is_put_to_the_test() -> None:
    assert {name for name, row in left_to_litert().items() if row.float32} == {*FUNCTIONS, "embedding"}


@pytest.mark.parametrize(
    "name",
    [name if name in {"max_pool2d", "elu"} else pytest.param(name, marks=pytest.mark.slow) for name in FUNCTIONS],
)
def test_the_table_is_what_the_runtime_does(name: str, tmp_path: Path) -> None:
    made = model(FUNCTIONS[name])
    row = left_to_litert()[name]
    (found,) = [one for one in told(made) if name in one[1]]
    assert found[0] == "slow"
    assert set(row.float32) <= outside(LiteRT().export(made, tmp_path / "m.tflite"))


TAKEN: tuple[Callable[[Tensor], Tensor], ...] = (
    nn.MaxPool2d(2),
    lambda x: functional.pad(x, (1, 1, 1, 1)),
    lambda x: x[:, :4],
    functional.silu,
    functional.relu6,
    nn.Conv2d(8, 8, 3),
)


@pytest.mark.parametrize("function", TAKEN)
def test_what_xnnpack_takes_is_not_told(function: Callable[[Tensor], Tensor]) -> None:
    assert not told(model(function))


def test_what_it_takes_in_float_alone_is_a_note() -> None:
    ((severity, problem),) = told(model(functional.hardswish))
    assert (severity, "HARD_SWISH in int8" in problem) == ("note", True)
    assert not told(quantized())


def test_layers_are_counted_once_for_each_operator() -> None:
    network = nn.Sequential(nn.Hardswish(), nn.Conv2d(8, 8, 1), nn.Hardswish(), nn.Hardswish())
    made = Model(network.eval(), Source("torch:calls"), (IMAGE,), (IMAGE,))
    (found,) = [one for one in LiteRT().advise(made, trace(made)) if "XNNPACK" in one.problem]
    assert found.where == "0 and 2 more layers"


class Layouts(nn.Module):
    """One change of layout where `pooled` is not set: the image is flattened as NCHW."""

    def __init__(self, pooled: bool) -> None:
        super().__init__()
        self.conv, self.pooled = nn.Conv2d(8, 4, 3), pooled
        self.linear = nn.Linear(4 if pooled else 144, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        logits: Tensor = self.linear((x.mean((2, 3), keepdim=True) if self.pooled else x).flatten(1))
        return logits


@pytest.mark.parametrize(("pooled", "wanted"), [(True, 0), (False, 1)])
def test_transposes_are_those_of_the_file(pooled: bool, wanted: int, tmp_path: Path) -> None:
    made = Model(Layouts(pooled).eval(), Source("torch:calls"), (IMAGE,), (TensorSpec("output", ("batch", 2)),))
    found = [one.problem for one in LiteRT().advise(made, trace(made))]
    assert sum("layout" in one or "NCHW" in one for one in found) == 1 + wanted
    path = LiteRT().export(made, tmp_path / "m.tflite")
    assert contents.operators(path.read_bytes()).get("TRANSPOSE", 0) == 1 + wanted


def test_a_text_model_needs_no_transpose() -> None:
    assert not [one for one in LiteRT().advise(tiny(), trace(tiny())) if "layout" in one.problem]
    dense = load.open("torch:torch.nn:Linear(in_features=8, out_features=2)", shape=(8,))
    assert not LiteRT().advise(dense, trace(dense))


@pytest.mark.parametrize("function", [lambda x: x.sort(-1)[0], lambda x: x.topk(2)[0], torch.msort])
def test_sorting_is_refused(function: Callable[[Tensor], Tensor]) -> None:
    (problem,) = LiteRT().check(model(function))
    assert (problem.severity, "STABLEHLO_SORT" in problem.problem) == ("refuses", True)
