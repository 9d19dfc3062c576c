"""A graph that answers otherwise than its module is not built on."""

import pytest
import torch
from torch import Tensor, nn

from paring.core.errors import ParingError
from paring.core.model import Model, Source, TensorSpec
from paring.load import probe
from paring.steps.quantize import graph, same

SHAPE = (3, 8, 8)


def loaded() -> Model:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 1))
    return probe.model(net.eval(), Source("test"), (TensorSpec.of("image", SHAPE),))


def test_the_first_layer_that_differs_is_named() -> None:
    model = loaded()
    folded = graph.fold(graph.capture(model), of=model)
    with torch.no_grad():
        folded.get_parameter("3.weight").mul_(1.01)
    with pytest.raises(ParingError, match="answers otherwise once it is folded: 3 is the first layer to differ"):
        same.require(model, folded, "folded")


def test_a_graph_that_does_not_run_is_refused() -> None:
    model = loaded()
    captured = graph.capture(model)
    next(n for n in captured.graph.nodes if n.target is torch.ops.aten.relu.default).target = torch.ops.aten.det.default
    captured.recompile()
    with pytest.raises(ParingError, match="once it is traced"):
        same.require(model, captured, "traced")


def test_inputs_that_the_module_refuses_prove_nothing() -> None:
    class Picky(nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            raise ValueError

    model = loaded()
    captured = graph.capture(model)
    same.require(Model(Picky(), model.source, model.inputs, model.outputs), captured, "traced")


def test_what_is_not_a_number_in_both_is_the_same() -> None:
    nan, inf = torch.tensor([1.0, torch.nan]), torch.tensor([1.0, torch.inf])
    assert not same.differ(nan, nan.clone())
    assert not same.differ(inf, inf.clone())
    assert same.differ(nan, inf)
    assert same.differ(inf, -inf)
    assert same.differ(nan, torch.tensor([1.0, 2.0]))
    assert same.differ(torch.tensor([1.0, 2.0]), nan)
    assert same.differ(torch.tensor([1, 2]), torch.tensor([1, 3]))
    assert same.differ(torch.zeros(2), torch.zeros(3))
