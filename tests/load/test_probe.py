"""What a module takes and gives."""

import pytest
import torch
from torch import Tensor, nn

from paring.core.errors import ParingError
from paring.core.model import Source, TensorSpec
from paring.load import probe
from paring.measure.answers import of_model

_ROW = TensorSpec("x", ("batch", 4))


class Given(nn.Module):
    """Gives what a function makes of a linear layer and the inputs."""

    def __init__(self, function) -> None:
        super().__init__()
        self.linear, self.function = nn.Linear(4, 4), function

    def forward(self, *inputs: Tensor):
        return self.function(self.linear, *inputs)


@pytest.mark.parametrize(
    ("inputs", "told"),
    [
        ((_ROW, _ROW), "two of its inputs are called 'x'"),
        ((TensorSpec("", ("batch", 4)),), "an input has no name"),
        ((TensorSpec("x", (1, 4)),), "the batch first"),
        ((TensorSpec("x", ()),), "the batch first"),
        ((TensorSpec("x", ("length", 4), free={"length": 3}),), "the batch first"),
    ],
)
def test_inputs_that_are_no_batches_of_samples_are_refused(inputs: tuple[TensorSpec, ...], told: str) -> None:
    with pytest.raises(ParingError, match=told):
        probe.model(Given(lambda linear, *x: linear(x[0])), Source("case"), inputs)


def test_keys_that_are_the_same_as_text_are_refused() -> None:
    with pytest.raises(ParingError, match="the same as text"):
        probe.model(Given(lambda linear, x: {1: linear(x), "1": x}), Source("case"), (_ROW,))


@pytest.mark.parametrize(
    "function",
    [
        lambda linear, x: (linear(x), x),
        lambda linear, x: (x.reshape(-1, 2, 2), linear(x)),
        lambda linear, x: (linear(x),) * 2,
        lambda linear, x: (linear(x), linear.weight.expand(len(x), 4, 4)),
        lambda linear, x: (linear(x), torch.ones(len(x), 3), linear(x)[:, :0]),
        lambda linear, x: (linear(x) > 0, linear(x).argmax(1)),
    ],
)
def test_every_answer_is_given_whatever_it_is_made_of(function) -> None:
    model = probe.model(Given(function).eval(), Source("case"), (_ROW,))
    x = torch.randn(3, 4)
    found = of_model(model)({"x": x.numpy()})
    wanted = function(model.module.linear, x)
    assert list(found) == ["output", *(f"output_{i}" for i in range(1, len(wanted)))]
    for one, other in zip(found.values(), wanted, strict=True):
        torch.testing.assert_close(torch.from_numpy(one), other.float())


def test_what_is_asked_of_a_model_that_writes_into_its_input_is_left_as_it_was() -> None:
    model = probe.model(Given(lambda linear, x: linear(x.add_(1))).eval(), Source("case"), (_ROW,))
    x = torch.zeros(3, 4).numpy()
    of_model(model)({"x": x})
    assert not x.any()
