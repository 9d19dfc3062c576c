import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from paring.core.errors import ParingError
from paring.core.model import Source, TensorSpec
from paring.load import blueprint, probe
from paring.load.blueprint import Blueprint, Names, Network, Node
from paring.steps.quantize.graph import capture

RESIDUAL = Blueprint(
    ("image",),
    (
        Node("conv", "Conv2d", ("image",), {"in_channels": 1, "out_channels": 4, "kernel_size": 3, "padding": 1}),
        Node("relu", "ReLU", ("conv",)),
        Node("sum", "add", ("relu", "conv")),
        Node("flat", "flatten", ("sum",), {"start_dim": 1}),
        Node("dense", "Linear", ("flat",), {"in_features": 64, "out_features": 3}),
    ),
    ("dense",),
)


def test_it_runs_its_nodes_in_order():
    torch.manual_seed(0)
    network = Network(RESIDUAL).eval()
    image = torch.randn(2, 1, 4, 4)
    conv = network.get_submodule("conv")(image)
    wanted = network.get_submodule("dense")((conv.relu() + conv).flatten(1))
    assert torch.equal(network(image), wanted)


def test_layers_are_ordinary_and_carry_their_names():
    network = Network(RESIDUAL)
    assert [(name, type(layer)) for name, layer in network.named_children()] == [
        ("conv", nn.Conv2d),
        ("relu", nn.ReLU),
        ("dense", nn.Linear),
    ]


def test_a_layer_that_is_replaced_is_what_runs():
    network = Network(RESIDUAL)
    network.dense = nn.Identity()
    assert network(torch.randn(2, 1, 4, 4)).shape == (2, 64)


def test_it_survives_json():
    data = json.loads(json.dumps(RESIDUAL.as_json()))
    torch.manual_seed(0)
    first = Network(RESIDUAL)
    torch.manual_seed(0)
    second = blueprint.build(Source("keras:model.keras", blueprint=data))
    image = torch.randn(1, 1, 4, 4)
    assert torch.equal(first(image), second(image))


def test_one_of_several_values_and_several_outputs():
    network = Network(
        Blueprint(
            ("x", "y"),
            (Node("low", "Constant", (), {"shape": [1], "dtype": "float32"}), Node("sum", "add", ("x", "y"))),
            ("sum", "x", "low"),
        )
    )
    x, y = torch.ones(2, 3), torch.ones(2, 3)
    found = network(x, y)
    assert [tuple(tensor.shape) for tensor in found] == [(2, 3), (2, 3), (1,)]


def test_values_inside_can_be_looked_at():
    network = Network(RESIDUAL).eval()
    image = torch.randn(1, 1, 4, 4)
    conv, total = network.trace([image], ["conv", "sum"])
    assert torch.equal(conv.relu() + conv, total)


def test_it_is_captured_for_any_batch():
    image = TensorSpec("image", ("batch", 1, 4, 4), layout="NCHW")
    model = probe.model(Network(RESIDUAL), Source("keras:model.keras"), (image,))
    assert capture(model)(torch.randn(5, 1, 4, 4)).shape == (5, 3)


@pytest.mark.parametrize(
    ("nodes", "problem"),
    [
        ((Node("one", "ReLU", ("nowhere",)),), "out of order"),
        ((Node("one", "ReLU", ("x",)), Node("one", "ReLU", ("x",))), "out of order"),
        ((Node("one", "os.system", ("x",)),), "no operation 'os.system'"),
        ((Node("one", "Linear", ("x",), {"in_features": 3, "width": 2}),), "refuses its options"),
        (
            (Node("one", "Linear", ("x",), {"in_features": 3, "out_features": 3}, tied={"weight": "two.weight"}),),
            "two.weight, which the node one shares",
        ),
    ],
)
def test_what_cannot_be_built_is_refused(nodes, problem):
    with pytest.raises(ParingError, match=problem):
        Network(Blueprint(("x",), nodes, ("one",)))


def test_a_damaged_blueprint_is_refused():
    data = RESIDUAL.as_json()
    del data["nodes"][0]["op"]
    with pytest.raises(ParingError, match="blueprint lacks 'op'"):
        blueprint.build(Source("onnx:model.onnx", blueprint=data))


@given(st.lists(st.text(max_size=8)))
def test_every_name_is_new_and_can_name_a_module(wanted):
    names = Names()
    found = [names(one) for one in wanted]
    assert len(set(found)) == len(found)
    module = nn.Module()
    for name in found:
        module.add_module(name, nn.Identity())
