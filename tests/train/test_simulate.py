"""What is evaluated has the values of the original."""

from dataclasses import replace

import pytest
import torch

from paring.core.model import Model
from paring.testing.models import quantized, tiny
from paring.train.simulate import evaluated


@pytest.mark.parametrize("make", [tiny, quantized])
def test_a_copy_answers_as_the_original_and_leaves_it_alone(make: type[Model]) -> None:
    model = make()
    image = {"image": torch.randn(64, 1, 8, 8, generator=torch.Generator().manual_seed(0))}
    before = {name: tensor.clone() for name, tensor in model.module.state_dict().items()}
    wanted = model(image)["output"]
    found = replace(model, module=evaluated(model.module))(image)["output"]
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.module.state_dict().items())


def test_every_pair_becomes_one_operator() -> None:
    graph = evaluated(quantized().module).graph
    targets = [str(node.target) for node in graph.nodes]
    assert not [target for target in targets if "quantized_decomposed" in target]
    assert sum("rounded" in target for target in targets) > 4
