"""What a network writes into its tensors is in the graph, and in the quantized graph."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from paring.core.errors import ParingError
from paring.core.model import Model, Source, TensorSpec
from paring.load import probe
from paring.steps.quantize import fixed, graph
from paring.steps.quantize.scheme import Scheme

SHAPE = (3, 8, 8)


class Net(nn.Module):
    """Two convolutions, and a write between them."""

    def __init__(self, write: Callable[[Tensor], Tensor | None]) -> None:
        super().__init__()
        self.first, self.norm, self.last = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.Conv2d(8, 4, 1)
        self.relu = nn.ReLU(inplace=True)
        self.write = write

    def forward(self, image: Tensor) -> Tensor:
        z = self.norm(self.first(image))
        found = self.write(z)
        answer: Tensor = self.last(z if found is None else found)
        return answer


def slices(z: Tensor) -> None:
    z[:, :4] = z[:, 4:] * 2


def middle(z: Tensor) -> None:
    z[:, 2:5, 1:-1] = 0.5


def added(z: Tensor) -> None:
    z[:, :4] += 1
    z[:, 1] *= 3


def strided(z: Tensor) -> None:
    z[:, ::2] = z[:, 1::2]
    z[:, :, 1::3] -= 1


def one_channel(z: Tensor) -> None:
    z[:, -1] = z[:, 0]


def everything(z: Tensor) -> None:
    z[:] = z.flip(1)


def mask(z: Tensor) -> None:
    z[z > 0.5] = 0.5


def mask_of_values(z: Tensor) -> None:
    negative = z < 0
    z[negative] = (z * 0.1)[negative]


def filled(z: Tensor) -> None:
    z[:, 3].fill_(2.0)
    z[:, 5].zero_()


def relu_unread(z: Tensor) -> None:
    nn.functional.relu_(z)


def relu_of_shortcut(z: Tensor) -> Tensor:
    y = nn.functional.relu_(z)
    return y * 0.5 + z  # the shortcut reads what the ReLU wrote


def through_view(z: Tensor) -> None:
    z.view(z.shape[0], 2, 4, 8, 8).transpose(1, 2)[:, 0].mul_(-1)


def masked_fill(z: Tensor) -> None:
    z[:, 1:].masked_fill_(z[:, 1:] < 0, 0.25)


def rows_chosen(z: Tensor) -> None:
    z[:, [0, 3]] = 1.0


def chunks(z: Tensor) -> Tensor:
    left, right = z.chunk(2, 1)
    left += right
    return z


WRITES = [
    slices, middle, added, strided, one_channel, everything, mask, mask_of_values, filled, relu_unread,
    relu_of_shortcut, through_view, masked_fill, rows_chosen, chunks,
]  # fmt: skip


def loaded(module: nn.Module) -> Model:
    torch.manual_seed(0)
    return probe.model(module.eval(), Source("test"), (TensorSpec.of("image", SHAPE),))


@pytest.mark.parametrize("write", WRITES)
def test_writes_are_in_the_graph_and_in_the_quantized_one(write: Callable[[Tensor], Tensor | None]) -> None:
    model = loaded(Net(write))
    x = torch.randn(8, *SHAPE, generator=torch.Generator().manual_seed(1))
    captured = graph.capture(model)
    in_place = [n for n in captured.graph.nodes if getattr(getattr(n.target, "_schema", None), "is_mutable", False)]
    assert not in_place
    folded = graph.fold(captured)
    with torch.no_grad():
        wanted = model.module(x)
        torch.testing.assert_close(folded(x), wanted, rtol=1e-4, atol=1e-5)
        prepared = graph.prepare(folded, fixed.annotator(Scheme()))
        graph.fix_weights(prepared)
        prepared(x)
        graph.fix_activations(prepared)
        found = graph.convert(prepared)(x)
    assert float((found - wanted).norm() / wanted.norm()) < 0.05


def test_writes_into_the_input_do_not_reach_the_caller() -> None:
    class Shifts(nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            image += 1
            return image * 2

    x = torch.zeros(2, *SHAPE)
    captured = graph.capture(loaded(Shifts()))
    assert float(captured(x).min()) == 2.0
    assert float(x.abs().max()) == 0.0


def test_a_network_with_a_memory_is_refused() -> None:
    class Counts(nn.Module):
        count: Tensor

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("count", torch.zeros(1))

        def forward(self, image: Tensor) -> Tensor:
            self.count += 1
            return image * self.count

    model = replace(loaded(Net(slices)), module=Counts().eval())
    before = model.module.get_buffer("count").clone()
    with pytest.raises(ParingError, match="keeps count from one call to the next"):
        graph.capture(model)
    assert torch.equal(before, model.module.get_buffer("count"))
