"""Whole networks as PyTorch exports them: same answers, same layers, and on to LiteRT."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from paring import load
from paring.core.model import Model
from paring.core.quiet import quiet
from paring.targets.litert import LiteRT

pytestmark = pytest.mark.filterwarnings("ignore")  # exporters warn of themselves

ZOO = {
    "zoo:mobilenet_v2(width=0.25)": (3, 32, 32),
    "zoo:resnet8": (3, 32, 32),
    "zoo:squeezenet1_1": (3, 64, 64),
    "zoo:ds_cnn": (1, 49, 10),
}


class Logits(nn.Module):
    """A transformers model that takes its inputs in order."""

    def __init__(self, module: nn.Module, *names: str) -> None:
        super().__init__()
        self.module, self.names = module, names

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.module(**dict(zip(self.names, inputs, strict=True))).logits
        return logits


def transformer(name: str) -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    import transformers as hf

    torch.manual_seed(0)
    small: dict[str, Any] = {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 64,
    }
    ids, mask, image = torch.randint(0, 99, (3, 12)), (torch.rand(3, 12) > 0.3).long(), torch.randn(3, 3, 32, 32)
    mask[:, 0] = 1
    if name == "bert":
        made: nn.Module = hf.BertForSequenceClassification(hf.BertConfig(vocab_size=99, **small))
    elif name == "distilbert":
        config = hf.DistilBertConfig(vocab_size=99, dim=32, n_layers=2, n_heads=4, hidden_dim=64)
        made = hf.DistilBertForSequenceClassification(config)
    elif name == "vit":
        made = hf.ViTForImageClassification(hf.ViTConfig(image_size=32, patch_size=8, **small))
    else:
        config = hf.MobileViTConfig(
            image_size=32, hidden_sizes=[16, 24, 32], neck_hidden_sizes=[8, 8, 16, 16, 24, 24, 32]
        )
        made = hf.MobileViTForImageClassification(config)
    for parameter in made.parameters():
        parameter.data.mul_(3)  # drawn weights are so small that a mask hardly changes the answer
    if name.endswith("bert"):
        return Logits(made, "input_ids", "attention_mask").eval(), (ids, mask)
    return Logits(made, "pixel_values").eval(), (image,)


def exported(
    module: nn.Module, inputs: tuple[torch.Tensor, ...], path: Path, opset: int, free: bool, dynamo: bool
) -> None:
    names = [f"in{i}" for i in range(len(inputs))]
    given = inputs if free else tuple(one[:1] for one in inputs)
    options: dict[str, Any] = {"input_names": names, "opset_version": opset, "dynamo": dynamo}
    if dynamo:
        options |= {"verbose": False}
        if free:
            options["dynamic_shapes"] = (tuple({0: torch.export.Dim("batch")} for _ in inputs),)
    elif free:
        options |= {"output_names": ["out"], "dynamic_axes": {name: {0: "batch"} for name in [*names, "out"]}}
    with quiet():
        torch.onnx.export(module, given, path, **options)


def layers(module: nn.Module, *kinds: type[nn.Module]) -> Counter[str]:
    return Counter(type(one).__name__ for one in module.modules() if isinstance(one, kinds))


def same(module: nn.Module, model: Model, inputs: tuple[torch.Tensor, ...]) -> None:
    with torch.inference_mode():
        wanted, found = module(*inputs), model.module(*inputs)
    assert torch.allclose(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("opset", "free"), [(11, False), (18, True)])
@pytest.mark.parametrize("name", ZOO)
def test_a_zoo_network(name: str, opset: int, free: bool, tmp_path: Path) -> None:
    """Batch normalizations are gone: PyTorch's exporter merges them into the convolutions."""
    shape = ZOO[name]
    module = load.open(name, shape=shape).module
    for one in module.modules():
        if isinstance(one, nn.BatchNorm2d):
            nn.init.uniform_(one.running_mean, -0.2, 0.2)
            nn.init.uniform_(one.running_var, 0.8, 1.2)
    image = torch.randn(3, *shape)
    path = tmp_path / "m.onnx"
    exported(module, (image,), path, opset, free, dynamo=False)
    model = load.open(f"onnx:{path}", shape=shape)
    same(module, model, (image,))
    kinds = (nn.Conv2d, nn.Linear, nn.ReLU, nn.ReLU6, nn.MaxPool2d)
    assert layers(model.module, *kinds) == layers(module, *kinds)


@pytest.mark.parametrize("free", [False, True])
@pytest.mark.parametrize("name", ["bert", "distilbert", "vit", "mobilevit"])
def test_a_transformer(name: str, free: bool, tmp_path: Path) -> None:
    """Tables that are looked up with constants, of positions, are constants."""
    module, inputs = transformer(name)
    path = tmp_path / "m.onnx"
    exported(module, inputs, path, 14, free, dynamo=False)
    model = load.open(f"onnx:{path}")
    same(module, model, inputs)
    kinds = (nn.Conv2d, nn.Linear, nn.LayerNorm)
    assert layers(model.module, *kinds) == layers(module, *kinds)


@pytest.mark.slow
@pytest.mark.parametrize("free", [False, True])
@pytest.mark.parametrize("opset", [18, 20, 23])
@pytest.mark.parametrize("name", ["bert", "distilbert", "vit", "mobilevit"])
def test_a_transformer_from_the_newer_exporter(name: str, opset: int, free: bool, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    module, inputs = transformer(name)
    path = tmp_path / "m.onnx"
    exported(module, inputs, path, opset, free, dynamo=True)
    model = load.open(f"onnx:{path}")
    same(module, model, inputs)
    kinds = (nn.Conv2d, nn.Linear, nn.LayerNorm)
    assert layers(model.module, *kinds) == layers(module, *kinds)


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_a_recurrent_network(kind: type[nn.Module], tmp_path: Path) -> None:
    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = kind(4, 5, batch_first=True, bidirectional=True, num_layers=2)
            self.head = nn.Linear(10, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.layer(x)[0][:, -1])

    module, x = Network().eval(), torch.randn(3, 6, 4)
    exported(module, (x,), tmp_path / "m.onnx", 17, True, dynamo=False)
    model = load.open(f"onnx:{tmp_path / 'm.onnx'}")
    same(module, model, (x,))
    assert layers(model.module, kind)[kind.__name__] == 4  # two layers of two directions
    assert "permute" not in {node["op"] for node in model.source.blueprint["nodes"]}


def test_what_came_in_as_onnx_goes_out_as_litert(tmp_path: Path) -> None:
    module = load.open("zoo:mobilenet_v2(width=0.25)", shape=(3, 32, 32)).module
    exported(module, (torch.randn(2, 3, 32, 32),), tmp_path / "m.onnx", 17, True, dynamo=False)
    model = load.open(f"onnx:{tmp_path / 'm.onnx'}", shape=(3, 32, 32))
    target = LiteRT()
    assert not target.check(model)
    runner = target.open(target.export(model, tmp_path / "m.tflite"))
    image = np.random.default_rng(0).normal(size=(4, 3, 32, 32)).astype(np.float32)
    found = runner.run({model.inputs[0].name: image})["output"]
    with torch.inference_mode():
        wanted = module(torch.from_numpy(image)).numpy()
    assert np.abs(found - wanted).max() < 1e-4
