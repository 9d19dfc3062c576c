import pytest
import torch
from torch import fx, nn
from torch.nn import functional

from paring.core.model import Model, Source, TensorSpec
from paring.measure.cost import LayerCost, macs, parameters, per_layer


def model(module, *shapes, dtype="float32"):
    inputs = tuple(TensorSpec(f"x{i}", ("batch", *shape), dtype) for i, shape in enumerate(shapes))
    return Model(module.eval(), Source("test"), inputs, (TensorSpec("y", ("batch",)),))


class Function(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *inputs):
        return self.function(*inputs)


@pytest.mark.parametrize(
    ("module", "shape", "expected"),
    [
        (nn.Conv2d(3, 8, 3, padding=1), (3, 5, 7), 5 * 7 * 8 * 3 * 9),
        (nn.Conv2d(3, 8, 3, stride=2, bias=False), (3, 9, 9), 4 * 4 * 8 * 3 * 9),
        (nn.Conv2d(4, 8, 3, dilation=2), (4, 9, 9), 5 * 5 * 8 * 4 * 9),
        (nn.Conv2d(4, 8, (3, 1), groups=2), (4, 6, 6), 4 * 6 * 8 * 2 * 3),
        (nn.Conv2d(6, 6, 3, groups=6), (6, 6, 6), 4 * 4 * 6 * 9),
        (nn.Conv1d(4, 8, 3), (4, 9), 7 * 8 * 4 * 3),
        (nn.Conv3d(2, 3, 2), (2, 4, 4, 4), 27 * 3 * 2 * 8),
        (nn.ConvTranspose2d(4, 6, 3, stride=2, groups=2), (4, 5, 5), 5 * 5 * 4 * 3 * 9),
        (nn.Linear(4, 8), (4,), 32),
        (nn.Linear(4, 8, bias=False), (4,), 32),
        (nn.Linear(4, 8), (5, 4), 5 * 32),
        (nn.LSTM(4, 8, batch_first=True), (5, 4), 5 * 4 * 8 * (4 + 8)),
        (nn.LSTM(4, 8, 2, batch_first=True, bidirectional=True), (5, 4), 2 * 5 * 4 * 8 * (4 + 8 + 16 + 8)),
        (nn.GRU(4, 8, batch_first=True), (5, 4), 5 * 3 * 8 * (4 + 8)),
        (nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), (5, 8), 5 * 8 * 32 + 2 * 25 * 8 + 2 * 5 * 8 * 16),
        (nn.BatchNorm2d(3), (3, 4, 4), 0),
        (nn.Sequential(nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()), (3, 4, 4), 0),
        (Function(lambda x: x @ torch.ones(8, 3)), (5, 8), 5 * 8 * 3),
        (Function(lambda x: x @ torch.ones(8)), (8,), 8),
        (Function(lambda x: torch.ones(3, 8) @ x[0]), (8,), 24),
        (Function(lambda x: torch.addmv(torch.ones(3), torch.ones(3, 8), x[0])), (8,), 24),
        (Function(lambda x: torch.dot(x[0], x[0])), (8,), 8),
        (Function(lambda x: x @ x.mT), (5, 8), 5 * 8 * 5),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else None,
)
def test_multiply_accumulates_by_hand(module, shape, expected):
    assert macs(model(module, shape)) == expected


class Queries(nn.Module):
    """Learned queries go into a layer as they are, and into another as a view."""

    def __init__(self):
        super().__init__()
        self.queries, self.layer = nn.Parameter(torch.randn(5, 4)), nn.Linear(4, 8)

    def forward(self, x):
        return x @ (self.layer(self.queries) + self.layer(self.queries[:1])).mT


def test_parameters_that_enter_a_layer():
    found = model(Queries(), (3, 8))
    assert macs(found) == 6 * 4 * 8 + 3 * 8 * 5
    assert sum(layer.macs for layer in per_layer(found)) == macs(found)


def test_attention():
    heads, queries, keys, width, depth = 2, 5, 7, 8, 4
    attention = Function(functional.scaled_dot_product_attention)
    expected = heads * queries * keys * (width + depth)
    assert macs(model(attention, (heads, queries, width), (heads, keys, width), (heads, keys, depth))) == expected
    expected = heads * queries * queries * 2 * width
    assert macs(model(attention, *[(heads, queries, width)] * 3)) == expected  # the fused kernel


def test_multi_head_attention_module():
    attention = Function(nn.MultiheadAttention(8, 2, batch_first=True))
    layers = per_layer(model(attention, *[(5, 8)] * 3))
    assert layers == [LayerCost("function", "MultiheadAttention", 4 * (64 + 8), 4 * 5 * 64 + 2 * 5 * 5 * 8, ())]


def test_integers_and_embeddings():
    network = nn.Sequential(nn.Embedding(10, 4), nn.Flatten(), nn.Linear(12, 2))
    tokens = model(network, (3,), dtype="int64")
    assert (macs(tokens), parameters(tokens)) == (24, 66)


def test_int8_product():
    product = Function(lambda x: torch._int_mm(x[0], torch.ones(8, 16, dtype=torch.int8)))
    assert macs(model(product, (32, 8), dtype="int8")) == 32 * 8 * 16


def test_one_sample_whatever_the_batch():
    fixed = Model(nn.Linear(4, 2), Source("test"), (TensorSpec("x", (3, 4)),), (TensorSpec("y", (3, 2)),))
    assert macs(model(nn.Linear(4, 2), (4,))) == 8
    assert macs(fixed) == 24  # cannot be run on less


class Small(nn.Module):
    """A shared layer, a parameter and a product of its own, a layer that never runs."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        self.twice = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.norm = nn.BatchNorm2d(8)  # no convolution in front: stays when others are folded
        self.classifier = nn.Linear(8, 4)
        self.mix = nn.Parameter(torch.eye(4))
        self.register_buffer("shift", torch.ones(4))

    def forward(self, x):
        x = self.norm(torch.relu(self.twice(self.twice(self.stem(x)))))
        return self.classifier(x.mean((2, 3))) @ self.mix + self.shift


LAYERS = [
    LayerCost("stem.0", "Conv2d", 8 * 27, 64 * 8 * 27, (1, 8, 8, 8)),
    LayerCost("stem.1", "BatchNorm2d", 16, 0, (1, 8, 8, 8)),
    LayerCost("twice", "Conv2d", 8 * 10, 2 * 64 * 8 * 9, (1, 8, 8, 8)),
    LayerCost("norm", "BatchNorm2d", 16, 0, (1, 8, 8, 8)),
    LayerCost("classifier", "Linear", 36, 32, (1, 4)),
]
IMAGE = (3, 8, 8)


def test_layers_of_a_module():
    small = model(Small(), IMAGE)
    assert per_layer(small) == [LayerCost("", "Small", 16, 16, ()), *LAYERS]
    assert macs(small) == sum(layer.macs for layer in per_layer(small))
    assert parameters(small) == sum(layer.parameters for layer in per_layer(small))


def test_products_of_a_module_are_its_own_before_and_after_it_calls_another():
    class Around(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Linear(3, 2)

        def forward(self, x):
            return self.inner(x @ torch.ones(4, 3)) @ torch.ones(2, 5)

    assert per_layer(model(Around(), (4,))) == [
        LayerCost("", "Around", 0, 12 + 10, ()),
        LayerCost("inner", "Linear", 8, 6, (1, 2)),
    ]


def test_measuring_leaves_the_module_as_it_was():
    module = Small()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    per_layer(model(module, IMAGE))
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())
    assert not any(inner._forward_hooks or inner._forward_pre_hooks for inner in module.modules())
    assert torch.backends.mha.get_fastpath_enabled()


def test_hooks_go_when_the_module_fails():
    module = Small()
    with pytest.raises(RuntimeError):
        per_layer(model(module, (1, 8, 8)))
    assert not any(inner._forward_hooks or inner._forward_pre_hooks for inner in module.modules())


def test_shared_tensors_count_once_and_idle_layers_count_for_their_caller():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding, self.head, self.idle = nn.Embedding(9, 4), nn.Linear(4, 9), nn.Linear(2, 2)
            self.head.weight = self.embedding.weight

        def forward(self, x):
            return self.head(self.embedding(x))

    tied = model(Tied(), (3,), dtype="int64")
    assert parameters(tied) == 36 + 9 + 6
    assert per_layer(tied) == [
        LayerCost("", "Tied", 6, 0, ()),
        LayerCost("embedding", "Embedding", 36, 0, (1, 3, 4)),
        LayerCost("head", "Linear", 9, 3 * 36, (1, 3, 9)),
    ]


def exported(module):
    images = torch.randn(2, *IMAGE)
    return torch.export.export(module, (images,), dynamic_shapes=({0: torch.export.Dim("batch")},)).module()


def test_graphs_cost_what_their_module_does():
    module = Small().eval()
    mixed = LayerCost("matmul", "matmul", 16, 16, (1, 4))
    traced = model(fx.symbolic_trace(module), IMAGE)
    assert per_layer(traced) == [*LAYERS, mixed]
    assert (macs(traced), parameters(traced)) == (macs(model(module, IMAGE)), parameters(model(module, IMAGE)))

    once = Model(exported(module), traced.source, traced.inputs, traced.outputs)  # refuses .eval()
    layers = {layer.name: layer for layer in per_layer(once)}
    assert macs(once) == sum(layer.macs for layer in layers.values()) == macs(traced)
    assert parameters(once) == sum(layer.parameters for layer in layers.values()) == parameters(traced)
    assert layers["matmul"] == mixed
    assert layers["stem.0"] == LAYERS[0]


def test_a_graph_inside_a_module():
    nested = model(nn.Sequential(fx.symbolic_trace(Small().eval()), nn.Linear(4, 2)), IMAGE)
    whole = model(Small(), IMAGE)
    assert parameters(nested) == parameters(whole) + 10
    assert macs(nested) == macs(whole) + 8
    assert sum(layer.parameters for layer in per_layer(nested)) == parameters(nested)
    assert sum(layer.macs for layer in per_layer(nested)) == macs(nested)


def test_tensors_that_a_graph_no_longer_reads_do_not_count():
    graph = fx.symbolic_trace(nn.Sequential(nn.Linear(4, 2)))
    graph.left_behind = nn.Parameter(torch.ones(5))
    assert parameters(model(graph, (4,))) == 10


def dequantize(values, scale):
    return values * scale


def test_constants_of_a_graph_in_a_parameters_place():
    """Integers count however they are used, float constants where a product takes them, scales and shifts never."""
    held = nn.Module()
    held.register_buffer("integers", torch.ones(4, dtype=torch.int8))
    held.register_buffer("scale", torch.ones(4))
    held.register_buffer("matrix", torch.ones(4, 2))
    held.register_buffer("shift", torch.ones(2))
    graph = fx.Graph()
    x = graph.placeholder("x")
    gain = graph.call_function(dequantize, (graph.get_attr("integers"), graph.get_attr("scale")))
    x = graph.call_function(torch.mul, (x, gain))
    x = graph.call_function(torch.matmul, (x, graph.get_attr("matrix")))
    graph.output(graph.call_function(torch.add, (x, graph.get_attr("shift"))))
    found = model(fx.GraphModule(held, graph), (4,))
    assert parameters(found) == 4 + 8
    assert per_layer(found) == [
        LayerCost("mul", "mul", 4, 0, (1, 4)),
        LayerCost("matmul", "matmul", 8, 8, (1, 2)),
    ]


@pytest.mark.filterwarnings("ignore")  # of torchao and what it imports
@pytest.mark.parametrize("fold", [False, True])
def test_quantized_graph(fold):
    pytest.importorskip("torchao")
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
    from torchao.quantization.pt2e.quantizer import x86_inductor_quantizer as x86

    module = nn.Sequential(Small().stem, nn.Conv2d(8, 8, 3, groups=8), nn.Flatten(), nn.Linear(288, 4)).eval()
    quantizer = x86.X86InductorQuantizer().set_global(x86.get_default_x86_inductor_quantization_config())
    prepared = prepare_pt2e(exported(module), quantizer)
    prepared(torch.randn(2, *IMAGE))
    whole = model(module, IMAGE)
    quantized = Model(convert_pt2e(prepared, fold_quantize=fold), whole.source, whole.inputs, whole.outputs)

    assert macs(quantized) == macs(whole)
    # the batch norm becomes a bias of the convolution in front: 16 parameters fewer, 8 more
    assert parameters(quantized) == parameters(whole) - 8
    layers = {layer.name: layer for layer in per_layer(quantized)}
    assert layers["0.0"] == LayerCost("0.0", "Conv2d", 8 * 27 + 8, 64 * 8 * 27, (1, 8, 8, 8))
    assert layers["3"] == LayerCost("3", "Linear", 289 * 4, 288 * 4, (1, 4))
    assert sum(layer.macs for layer in layers.values()) == macs(quantized)
    assert sum(layer.parameters for layer in layers.values()) == parameters(quantized)
