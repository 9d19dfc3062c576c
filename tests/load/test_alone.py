"""A network whose answers depend on the batch or on chance is refused, with the first layer that is to blame."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from paring import load
from paring.core.errors import ParingError
from paring.core.model import Source, TensorSpec
from paring.load import probe

_IMAGE = (TensorSpec("image", ("batch", 3, 8, 8), "float32", "NCHW"),)
_SERIES = (TensorSpec("x", ("batch", 6, 8)),)


class Middle(nn.Module):
    """A convolution, something, and a linear layer."""

    def __init__(self, middle: nn.Module) -> None:
        super().__init__()
        self.stem, self.middle, self.head = nn.Conv2d(3, 4, 3), middle, nn.Linear(4, 5)

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.middle(self.stem(image)).mean((2, 3)))


class Function(nn.Module):
    def __init__(self, function) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


class Stubborn(nn.BatchNorm2d):
    """Stays in training mode."""

    def train(self, mode: bool = True) -> "Stubborn":
        return super().train(True)


class Counting(nn.Module):
    """Keeps what it saw."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.seen += 1
        return x * self.seen


def probed(module: nn.Module, inputs: tuple[TensorSpec, ...] = _IMAGE) -> None:
    probe.model(module.eval(), Source("case"), inputs)


@pytest.mark.parametrize(
    "norm",
    [nn.BatchNorm2d(4, track_running_stats=False), Stubborn(4), nn.SyncBatchNorm(4, track_running_stats=False)],
    ids=lambda norm: type(norm).__name__,
)
def test_batch_norm_by_the_batch_is_refused_by_name(norm: nn.Module) -> None:
    with pytest.raises(ParingError, match=r"middle \(\w+\) normalizes by the statistics of the batch"):
        probed(Middle(norm))


@pytest.mark.parametrize(
    "middle",
    [
        Function(lambda x: functional.batch_norm(x, None, None, training=True)),
        Function(lambda x: x - x.mean(0, keepdim=True)),
        Function(lambda x: x + x.flip(0)),
        Function(lambda x: x.cumsum(0)),
        Function(lambda x: x / x.std()),
    ],
)
def test_a_layer_that_looks_at_the_other_samples_is_refused_by_name(middle: nn.Module) -> None:
    with pytest.raises(ParingError, match=r"depends on the others in the batch, first in middle \(Function\)"):
        probed(Middle(middle))


@pytest.mark.parametrize("layer", [nn.LSTM(8, 8), nn.TransformerEncoderLayer(8, 2, 8)], ids=["lstm", "attention"])
def test_a_sequence_along_the_batch_is_refused(layer: nn.Module) -> None:
    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = layer

        def forward(self, x: Tensor) -> Tensor:
            found = self.layer(x)
            return found[0] if isinstance(found, tuple) else found

    with pytest.raises(ParingError, match="first in layer"):
        probed(Last(), _SERIES)


@pytest.mark.parametrize(
    "middle",
    [
        Function(lambda x: functional.dropout(x, 0.1, training=True)),
        Function(lambda x: functional.rrelu(x, training=True)),
        Function(lambda x: x + 1e-4 * torch.randn_like(x)),
        Counting(),
    ],
)
def test_an_answer_at_random_is_refused_by_name(middle: nn.Module) -> None:
    with pytest.raises(ParingError, match=r"otherwise each time: middle"):
        probed(Middle(middle))


def test_a_forward_for_several_samples_alone_is_refused() -> None:
    with pytest.raises(ParingError, match=r"batch of 1 .* shape \(5,\)"):
        probed(nn.Sequential(Middle(nn.Identity()), Function(torch.squeeze)))
    with pytest.raises(ParingError, match="fails for one alone"):
        probed(nn.Sequential(Middle(nn.Identity()), Function(lambda x: x.reshape(2, 5))))


@pytest.mark.parametrize(
    "middle",
    [
        nn.BatchNorm2d(4),
        nn.InstanceNorm2d(4),
        nn.GroupNorm(2, 4),
        nn.Sequential(nn.Dropout(0.5), nn.RReLU()),
        Function(lambda x: x + 0 * torch.rand(())),  # drawn, and without effect
        Function(lambda x: x / x.std((1, 2, 3), keepdim=True)),
    ],
)
def test_what_answers_each_sample_by_itself_is_taken(middle: nn.Module) -> None:
    probed(Middle(middle))


def test_a_norm_that_nothing_calls_does_no_harm() -> None:
    module = Middle(nn.Identity())
    module.unused = nn.BatchNorm2d(4, track_running_stats=False)
    probed(module)


def test_chance_elsewhere_is_left_as_it_is() -> None:
    module = Middle(Function(lambda x: x + 0 * torch.rand(())))
    before = torch.get_rng_state()
    probed(module)
    assert torch.equal(before, torch.get_rng_state())


def test_a_program_that_draws_is_refused_by_its_node(tmp_path) -> None:
    class Noisy(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.bernoulli(torch.sigmoid(x)) + x

    program = torch.export.export(Noisy(), (torch.randn(2, 3),), dynamic_shapes={"x": {0: torch.export.Dim("batch")}})
    torch.export.save(program, tmp_path / "noisy.pt2")
    with pytest.raises(ParingError, match="bernoulli"):
        load.open(f"pt2:{tmp_path / 'noisy.pt2'}")
