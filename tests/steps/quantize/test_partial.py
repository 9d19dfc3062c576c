"""A network of which only chosen layers round."""

from copy import deepcopy

import pytest
import torch

from paring.core.model import Model
from paring.core.quiet import quiet
from paring.steps.quantize import fixed, graph
from paring.steps.quantize.partial import Inputs, Partial, alone, noise, unrounded, without
from paring.steps.quantize.scheme import Precision, Scheme
from paring.testing.models import TinyTask, tiny

COARSE = Precision(weights="int4")


@pytest.fixture(scope="module")
def model() -> Model:
    return tiny()


@pytest.fixture(scope="module")
def batches() -> list[Inputs]:
    return [tuple(batch.inputs.values()) for batch in TinyTask().batches("calibration", 16, limit=32)]


@pytest.fixture(scope="module")
def prepared(model: Model, batches: list[Inputs]) -> torch.fx.GraphModule:
    scheme = Scheme(layers={"body.3": COARSE})  # one layer that rounds far worse than the others
    found = graph.prepare(graph.fold(graph.capture(model)), fixed.annotator(scheme))
    graph.fix_weights(found)
    for inputs in batches:
        found(*inputs)
    graph.fix_activations(found)
    return found


def test_all_or_nothing(model: Model, prepared: torch.fx.GraphModule, batches: list[Inputs]) -> None:
    network = Partial(prepared)
    with quiet():
        converted = graph.convert(deepcopy(prepared))
    with torch.inference_mode():
        for inputs in batches:
            assert torch.equal(network.rounding(lambda layer: True)(inputs), converted(*inputs))
            torch.testing.assert_close(network.rounding(lambda layer: False)(inputs), model.module(*inputs))


def test_the_worst_layer_stands_out(prepared: torch.fx.GraphModule, batches: list[Inputs]) -> None:
    network = Partial(prepared)
    assert network.layers == ("stem.0", "body.0", "body.3", "classifier")
    assert network.weight("classifier") == (80, 10)
    one, others = alone(network, network.layers, batches), without(network, network.layers, batches)
    every = noise(network, lambda layer: True, unrounded(network, batches), batches)
    assert max(one, key=lambda layer: one[layer]) == "body.3"
    assert min(others, key=lambda layer: others[layer]) == "body.3"
    assert others["body.3"] < every / 2
    assert all(0 < value < 10 * every for value in one.values())
