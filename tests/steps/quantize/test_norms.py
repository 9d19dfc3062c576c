"""Batch norms in a graph: taken up by the layer before where that is right, else a layer of their own."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from paring.core.model import Model, Source, TensorSpec
from paring.load import probe
from paring.steps.quantize import graph

SHAPE = (3, 12, 12)
aten = torch.ops.aten


class Net(nn.Module):
    """Parts, and what is done with them."""

    def __init__(self, forward: Callable[["Net", Tensor], object], **parts: nn.Module) -> None:
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)
        self.run = forward

    def forward(self, image: Tensor) -> object:
        return self.run(self, image)


def seen(net: nn.Module) -> nn.Module:
    """The network with norms that have seen data."""
    torch.manual_seed(0)
    for part in net.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            if part.affine:
                part.weight.data.uniform_(0.5, 2.0)
                part.bias.data.normal_()
            assert part.running_var is not None
            assert part.running_mean is not None
            part.running_var.uniform_(0.1, 0.3)
            part.running_mean.normal_()
    return net


def conv(bias: bool = False) -> nn.Module:
    return nn.Conv2d(3, 8, 3, padding=1, bias=bias)


def siamese(net: Net, x: Tensor) -> object:
    return net.norm(net.conv(x)), net.norm(net.conv(x.flip(1)))


def pyramid(net: Net, x: Tensor) -> object:
    return net.norm(net.conv(x)), net.other(net.conv(avg_pool2d(x, 2)))


def read_beside(net: Net, x: Tensor) -> object:
    y = net.conv(x)
    return net.norm(y) + y


def tied(net: Net, x: Tensor) -> object:
    return net.norm(net.conv(x)), net.twin(x)


def in_a_row(net: Net, x: Tensor) -> object:
    return net.other(net.norm(net.conv(x)))


def row_read_between(net: Net, x: Tensor) -> object:
    y = net.norm(net.conv(x))
    return net.other(y).relu() + y


def before(net: Net, x: Tensor) -> object:
    return net.conv(net.norm(x).relu())


def over_tokens(net: Net, x: Tensor) -> object:
    return net.norm(net.linear(x[:, 0]))  # 12 tokens of 12 features, which a norm takes for the channels


def in_rows(net: Net, x: Tensor) -> object:
    return net.norm(net.linear(x.mean((2, 3))))


def shared_rows(net: Net, x: Tensor) -> object:
    return net.norm(net.linear(x.mean((2, 3)))), net.linear(x.amax((2, 3)))


def sequence(net: Net, x: Tensor) -> object:
    return net.norm(net.conv(x[:, :, 0]))


def tied_nets() -> Net:
    net = Net(tied, conv=conv(), twin=conv(), norm=nn.BatchNorm2d(8))
    net.twin.weight = net.conv.weight
    return net


def bn() -> nn.Module:
    return nn.BatchNorm2d(8)


# name -> (network, how many layers with a weight it is to have when it is folded)
NETS: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "plain": (lambda: nn.Sequential(conv(), bn()), 1),
    "with a bias": (lambda: nn.Sequential(conv(True), bn()), 1),
    "a norm without factors": (lambda: nn.Sequential(conv(True), nn.BatchNorm2d(8, affine=False)), 1),
    "shared with its norm": (lambda: Net(siamese, conv=conv(), norm=bn()), 2),
    "shared with its norm, with a bias": (lambda: Net(siamese, conv=conv(True), norm=bn()), 2),
    "shared, a norm for each": (lambda: Net(pyramid, conv=conv(), norm=bn(), other=bn()), 4),
    "another reader": (lambda: Net(read_beside, conv=conv(), norm=bn()), 2),
    "a tied weight": (tied_nets, 3),
    "two in a row": (lambda: Net(in_a_row, conv=conv(), norm=bn(), other=bn()), 1),
    "two in a row, read between": (lambda: Net(row_read_between, conv=conv(), norm=bn(), other=bn()), 2),
    "before its layer": (lambda: Net(before, conv=conv(), norm=nn.BatchNorm2d(3)), 2),
    "linear, over tokens": (lambda: Net(over_tokens, linear=nn.Linear(12, 12), norm=nn.BatchNorm1d(12)), 2),
    "linear": (lambda: Net(in_rows, linear=nn.Linear(3, 5), norm=nn.BatchNorm1d(5)), 1),
    "linear, shared": (lambda: Net(shared_rows, linear=nn.Linear(3, 5), norm=nn.BatchNorm1d(5)), 3),
    "of a sequence": (lambda: Net(sequence, conv=nn.Conv1d(3, 6, 3, groups=3), norm=nn.BatchNorm1d(6)), 1),
    "transposed": (lambda: nn.Sequential(nn.ConvTranspose2d(3, 8, 3, 2, 1, 1), bn()), 1),
    "transposed in groups": (lambda: nn.Sequential(conv(), nn.ConvTranspose2d(8, 8, 2, groups=2), bn()), 2),
    "in groups": (lambda: nn.Sequential(nn.Conv2d(3, 6, 3, groups=3), nn.BatchNorm2d(6)), 1),
}  # fmt: skip


def loaded(make: Callable[[], nn.Module]) -> Model:
    torch.manual_seed(1)
    return probe.model(seen(make()).eval(), Source("test"), (TensorSpec.of("image", SHAPE),))


@pytest.mark.parametrize("name", NETS)
def test_a_folded_graph_answers_as_its_module_and_holds_no_norm(name: str) -> None:
    make, layers = NETS[name]
    model = loaded(make)
    state = {key: tensor.clone() for key, tensor in model.module.state_dict().items()}
    folded = graph.fold(graph.capture(model))
    x = torch.randn(4, *SHAPE, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        wanted, found = model.module(x), folded(x)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)
    assert not [node for node in folded.graph.nodes if node.target is aten.batch_norm.default]
    transposed = {aten.conv_transpose2d.input}
    weighted = [n for n in folded.graph.nodes if n.target in transposed or "conv" in n.name or "linear" in n.name]
    assert len([node for node in weighted if node.op == "call_function"]) == layers
    for key, tensor in model.module.state_dict().items():  # the model's own tensors are as they were
        assert torch.equal(tensor, state[key])
    own = {tensor.data_ptr() for tensor in model.module.state_dict().values()}
    assert not own & {tensor.data_ptr() for tensor in folded.parameters()}
