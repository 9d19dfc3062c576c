"""The network in training computes what its file will, and every layer keeps its batch norm until it is frozen."""

import copy

import pytest
import torch
from torch import nn

from paring.core.errors import ParingError
from paring.core.model import Model, Source, TensorSpec
from paring.steps.quantize import fixed, graph
from paring.steps.quantize.aware import network
from paring.steps.quantize.scheme import Precision, Scheme
from paring.testing.models import TinyTask, tiny

METHODS = ("plain", "lsq")


def images(count: int = 48) -> torch.Tensor:
    return next(iter(TinyTask().batches("train", count))).inputs["image"]


def of(module: nn.Module) -> Model:
    return Model(module.eval(), Source("torch:x"), TinyTask.inputs, (TensorSpec("output", ("batch", 10)),))


def made(model: Model, method: network.Method = "lsq", scheme: Scheme | None = None):
    """(the prepared graph, the network to train)."""
    captured = graph.capture(model)
    norms = network.norms(captured)
    learned = frozenset(name for name, parameter in captured.named_parameters() if parameter.requires_grad)
    prepared = graph.prepare(graph.fold(captured), fixed.annotator(scheme or Scheme(), "mse", "minmax"))
    graph.fix_weights(prepared)
    with torch.no_grad():
        prepared(images())
    return prepared, network.trainable(prepared, norms, method, learned)


def trained(rounding: nn.Module, steps: int = 5) -> None:
    rounding.train()
    optimizer = torch.optim.SGD(rounding.parameters(), lr=0.02)
    for _ in range(steps):
        optimizer.zero_grad()
        rounding(images())[0].square().mean().backward()
        optimizer.step()
    rounding.eval()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "scheme",
    [
        Scheme(),
        Scheme(Precision(weights="int4", activations="int4")),
        Scheme(granularity="tensor", symmetric=True),
        Scheme(Precision(weights="int4"), {"body.0": Precision(weights="float32", activations="float32")}),
    ],
    ids=["int8", "int4", "tensor", "mixed"],
)
def test_put_back_it_is_the_graph_that_was_trained(method, scheme):
    prepared, rounding = made(tiny(), method, scheme)
    trained(rounding)
    with torch.no_grad():
        wanted = rounding(images())[0]
    network.put_back(rounding, prepared)
    graph.per_tensor_scales(prepared)
    converted = graph.convert(prepared)
    with torch.no_grad():
        found = converted(images())
    # where torch rounds a tie to the other side, one code of an activation differs
    assert (found - wanted).abs().max() < 0.02 * wanted.abs().max()
    assert (found == wanted).double().mean() > 0.9


@pytest.mark.parametrize("method", METHODS)
def test_before_training_it_answers_as_static_quantization_does(method):
    prepared, rounding = made(tiny(), method)
    graph.fix_activations(prepared)
    with torch.no_grad():
        wanted, found = graph.convert(prepared)(images()), rounding(images())[0]
    assert (found - wanted).norm() < 0.03 * wanted.norm()


@pytest.mark.parametrize("method", METHODS)
def test_batch_norm_is_alive_until_it_is_frozen(method):
    _, rounding = made(tiny(), method)
    layer = rounding.get_submodule("stem.0.weight")
    trained(rounding, 1)
    moved = layer.mean.clone(), layer.variance.clone()
    assert not torch.equal(moved[0], tiny().module.stem[1].running_mean)
    with torch.no_grad():
        rounding.train()
        of_batch = rounding(images(16))[0]
        alone = rounding(images(16)[:8])[0]
        assert not torch.allclose(of_batch[:8], alone)  # statistics of the batch
        network.freeze(rounding)
        moved = {name: buffer.clone() for name, buffer in rounding.named_buffers()}
        frozen = rounding(images(16))[0]
        torch.testing.assert_close(frozen[:8], rounding(images(16)[:8])[0])
        assert all(torch.equal(buffer, moved[name]) for name, buffer in rounding.named_buffers())
        torch.testing.assert_close(frozen, rounding.eval()(images(16))[0])


@pytest.mark.parametrize("scheme", [Scheme(), Scheme(granularity="tensor")], ids=["channel", "tensor"])
@pytest.mark.parametrize("method", METHODS)
def test_alive_it_rounds_as_finely_as_folded_whatever_batch_norm_multiplies_with(method, scheme):
    model = tiny()
    with torch.no_grad():
        model.module.stem[1].weight.mul_(40.0)
        model.module.body[1].weight.mul_(0.02)
    _, rounding = made(model, method, scheme)
    for name in ("stem.0.weight", "body.0.weight"):
        layer = rounding.get_submodule(name)
        data = torch.randn(16, *([1] if name.startswith("stem") else [8]), 8, 8)
        norm = {"stem": model.module.stem, "body": model.module.body}[name[:4]][:2]
        wanted, found = copy.deepcopy(norm).train()(data), layer.train()(data)
        assert (found - wanted).norm() < 0.02 * (wanted - wanted.mean((0, 2, 3), keepdim=True)).norm()


def test_alive_it_computes_as_convolution_and_batch_norm_do():
    """Without its rounding, training is that of the float network."""
    model = tiny()
    _, rounding = made(model)
    for name, part in list(rounding.named_modules(remove_duplicate=False)):
        if isinstance(part, network.Layer):
            part.rounding = None
        elif isinstance(part, network.Activation):
            setattr(rounding, name, nn.Identity())
    plain = copy.deepcopy(model.module).train()
    wanted, found = plain(images()), rounding.train()(images())[0]
    torch.testing.assert_close(found, wanted)
    wanted.square().mean().backward()
    found.square().mean().backward()
    layer = rounding.get_submodule("body.0.weight")
    for mine, theirs in ((layer.weight, plain.body[0].weight), (layer.gamma, plain.body[1].weight)):
        torch.testing.assert_close(mine.grad, theirs.grad)
    torch.testing.assert_close(layer.variance, plain.body[1].running_var)


def test_what_the_model_does_not_train_is_not_trained():
    model = tiny()
    model.module.body[1].weight.requires_grad_(False)
    model.module.classifier.weight.requires_grad_(False)
    _, rounding = made(model)
    kept = {name for name, parameter in rounding.named_parameters() if not parameter.requires_grad}
    assert kept == {"body.0.weight.gamma", "classifier.weight.weight"}


def test_the_model_is_untouched_and_the_network_an_ordinary_module():
    model = tiny()
    before = copy.deepcopy(model.module.state_dict())
    _, rounding = made(model)
    trained(rounding)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.module.state_dict().items())
    assert copy.deepcopy(rounding).train().training  # an exported graph refuses, or warns


class Branches(nn.Module):
    """Layers of all kinds: transposed, linear with batch norm, batch norm without factors, a sigmoid, a parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.one_norm = nn.Conv2d(1, 4, 3, padding="same"), nn.BatchNorm2d(4, affine=False)
        self.two, self.two_norm = nn.ConvTranspose2d(4, 6, 2, stride=2), nn.BatchNorm2d(6)
        self.line, self.line_norm = nn.Linear(6, 12), nn.BatchNorm1d(12)
        self.scale = nn.Parameter(torch.rand(12))
        self.last = nn.Linear(24, 10, bias=False)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = self.two_norm(self.two(self.one_norm(self.one(image)).relu()))
        x = self.line_norm(self.line(x.sigmoid().mean((2, 3)))) * self.scale
        return self.last(torch.cat([x, x.relu()], 1))


@pytest.mark.parametrize("method", METHODS)
def test_layers_of_all_kinds(method):
    torch.manual_seed(0)
    prepared, rounding = made(of(Branches()), method)
    names = {name for name, _ in rounding.named_parameters()}
    assert {"scale", "line.weight.gamma", "last.weight.weight", "two.weight.beta"} <= names
    scale = rounding.get_parameter("scale").clone()
    trained(rounding)
    assert not torch.equal(rounding.get_parameter("scale"), scale)
    with torch.no_grad():
        wanted = rounding(images())[0]
        network.put_back(rounding, prepared)
        assert torch.equal(prepared.get_parameter("scale"), rounding.get_parameter("scale"))
        found = graph.convert(prepared)(images())
    assert (found - wanted).abs().max() < 0.03 * wanted.abs().max()


def test_layers_that_share_a_weight_are_refused():
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Conv2d(1, 1, 3, padding=1)

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return self.layer(self.layer(image)).flatten(1)[:, :10]

    with pytest.raises(ParingError, match="share one weight"):
        made(of(Shared()))
