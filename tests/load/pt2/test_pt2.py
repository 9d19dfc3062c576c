"""`pt2:`: exported programs are rebuilt as ordinary layers, and nothing in their files is executed."""

import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from paring import load
from paring.core.errors import ParingError
from paring.core.model import TensorSpec
from paring.core.quiet import quiet
from paring.load import saved
from paring.load.zoo import ZOO
from paring.testing.doors import DoorContract
from paring.testing.models import TinyTask
from paring.testing.networks import tiny_network

BATCH = torch.export.Dim("batch")


def export(module: nn.Module, path: Path, *args: Tensor, fixed: bool = False, train: bool = False) -> str:
    shapes = None if fixed else tuple({0: BATCH} for _ in args)
    with quiet():
        program = torch.export.export(module.train(train), args, dynamic_shapes=shapes)
        torch.export.save(program, path)
    return f"pt2:{path}"


class TestPt2Door(DoorContract):
    @pytest.fixture
    def original(self) -> nn.Module:
        torch.manual_seed(7)
        return tiny_network().eval()

    @pytest.fixture
    def text(self, original: nn.Module, tmp_path: Path) -> str:
        return export(original, tmp_path / "tiny.pt2", torch.zeros(2, 1, 8, 8))

    @pytest.fixture
    def shape(self) -> tuple[int, ...]:
        return (1, 8, 8)

    @pytest.fixture
    def weights(self) -> None:
        return None


class Mixed(nn.Module):
    """Several inputs, a dictionary, constants, tied weights, sizes that are computed, and operators in place."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.norm = nn.Embedding(11, 16), nn.LayerNorm(16)
        self.encoder = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        self.recurrent = nn.LSTM(16, 8, batch_first=True)
        self.up = nn.ConvTranspose2d(4, 2, 3, stride=2, groups=2, output_padding=1)
        self.act = nn.Sequential(nn.ReLU(inplace=True), nn.Dropout(), nn.Hardtanh(-0.5, 0.5), nn.GELU())
        self.register_buffer("scale", torch.arange(16.0))

    def forward(self, ids: Tensor, image: Tensor) -> dict[str, Tensor]:
        x = self.encoder(self.norm(self.embedding(ids) * self.scale + torch.tensor(2.0)))
        y, _ = self.recurrent(x)
        picture = self.up(image)
        picture += 1
        left, right = torch.split(picture, [1, 1], 1)
        spread = torch.where(ids > 3, float("-inf"), 0.0).softmax(1)
        return {
            "logits": nn.functional.linear(self.act(x).mean(1), self.embedding.weight),
            "state": y.reshape(y.shape[0], -1),
            "picture": left.view(-1, left.shape[2] * 10) - right.flatten(1),
            "spread": spread,
        }


def test_all_kinds_of_operators_answer_as_the_original(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = Mixed().eval()
    ids, image = torch.randint(0, 4, (2, 6)), torch.randn(2, 4, 4, 4)
    model = load.open(export(module, tmp_path / "m.pt2", ids, image))
    assert [spec.name for spec in model.outputs] == ["logits", "state", "picture", "spread"]
    assert [spec.dtype for spec in model.inputs] == ["int64", "float32"]
    given = {"ids": torch.randint(0, 4, (5, 6)), "image": torch.randn(5, 4, 4, 4)}
    with torch.inference_mode():
        wanted = module(**given)
    for name, found in model(given).items():
        torch.testing.assert_close(found, wanted[name], rtol=0, atol=1e-6)
    path = saved.save(model, tmp_path / "s" / "m.safetensors")
    (tmp_path / "m.pt2").unlink()  # a saved model does not need it
    again = saved.load(path)
    assert all(torch.equal(a, b) for a, b in zip(again(given).values(), model(given).values(), strict=True))


@pytest.mark.parametrize("name", ["mobilenet_v2", "squeezenet1_1", "resnet20", "ds_cnn"])
def test_networks_come_back_with_their_layers(name: str, tmp_path: Path) -> None:
    module = ZOO.load(name)(classes=4, channels=1, size=28).eval()
    model = load.open(export(module, tmp_path / "m.pt2", torch.zeros(2, 1, 28, 28)), shape=(1, 28, 28))

    def layers(of: nn.Module) -> list[str]:
        wanted = (nn.Conv2d, nn.BatchNorm2d, nn.Linear, nn.ReLU, nn.ReLU6)
        return sorted(type(layer).__name__ for layer in of.modules() if isinstance(layer, wanted))

    assert [kind for kind in layers(model.module) if "ReLU" not in kind] == [
        kind for kind in layers(module) if "ReLU" not in kind
    ]
    assert any("ReLU" in kind for kind in layers(model.module))
    image = torch.randn(3, 1, 28, 28)
    assert torch.equal(
        model({"input": image} if model.inputs[0].name == "input" else {model.inputs[0].name: image})["output"],
        module(image),
    )


LAYERS = {
    "Conv1d": (nn.Conv1d(4, 6, 3, stride=2, padding=2, dilation=2, groups=2), (4, 9)),
    "Conv2d": (
        nn.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=(1, 2), dilation=(1, 3), groups=2, bias=False),
        (4, 9, 9),
    ),
    "Conv2d same": (nn.Conv2d(4, 6, 4, padding="same", dilation=2), (4, 9, 9)),
    "Conv3d": (nn.Conv3d(2, 4, 3, stride=(1, 2, 1), padding=1), (2, 5, 5, 5)),
    "ConvTranspose1d": (nn.ConvTranspose1d(4, 6, 3, stride=2, output_padding=1, groups=2), (4, 5)),
    "ConvTranspose2d": (nn.ConvTranspose2d(4, 6, 3, stride=(2, 3), padding=1, dilation=2, bias=False), (4, 5, 5)),
    "Linear": (nn.Linear(4, 3, bias=False), (5, 4)),
    "BatchNorm1d": (nn.BatchNorm1d(4, eps=1e-2), (4,)),
    "BatchNorm2d": (nn.BatchNorm2d(4, affine=False), (4, 3, 3)),
    "LayerNorm": (nn.LayerNorm((3, 4), eps=1e-2), (3, 4)),
    "GroupNorm": (nn.GroupNorm(2, 4, eps=1e-2), (4, 3, 3)),
    "LeakyReLU": (nn.LeakyReLU(0.3), (4,)),
    "Hardtanh": (nn.Hardtanh(-0.5, 2.0), (4,)),
    "ReLU6": (nn.ReLU6(inplace=True), (4,)),
    "GELU": (nn.GELU(approximate="tanh"), (4,)),
    "Hardswish": (nn.Hardswish(), (4,)),
}


@pytest.mark.parametrize("kind", LAYERS)
def test_a_layer_comes_back_as_itself_with_its_options(kind: str, tmp_path: Path) -> None:
    layer, shape = LAYERS[kind]
    for tensor in layer.state_dict().values():
        if tensor.is_floating_point():
            nn.init.uniform_(tensor, 0.5, 1.5)
    module = nn.Sequential(nn.Identity(), nn.Sequential(layer)).eval()
    x = 4 * torch.randn(3, *shape)
    model = load.open(export(module, tmp_path / "m.pt2", torch.zeros(2, *shape)))
    assert type(layer).__name__ in {type(one).__name__ for one in model.module.modules()} or kind == "ReLU6"
    with torch.inference_mode():
        wanted = module(x.clone())
    torch.testing.assert_close(model({model.inputs[0].name: x.clone()})["output"], wanted, rtol=0, atol=1e-6)


class Shared(nn.Module):
    """A layer that is called twice, tied weights under two names, and a weight that arithmetic uses too."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.body, self.head = nn.Embedding(11, 8), nn.Linear(8, 8), nn.Linear(8, 11, bias=False)
        self.norm, self.head.weight = nn.BatchNorm1d(8), self.embedding.weight

    def forward(self, ids: Tensor) -> Tensor:
        x = self.norm(self.body(self.embedding(ids).mean(1)))
        x = self.norm(self.body(x))
        logits: Tensor = self.head(x) + x @ self.embedding.weight.t()
        return logits


def test_what_is_shared_stays_shared(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = Shared().eval()
    model = load.open(export(module, tmp_path / "m.pt2", torch.randint(0, 11, (2, 6))))
    ids = torch.randint(0, 11, (5, 6))
    torch.testing.assert_close(model({"ids": ids})["output"], module(ids), rtol=0, atol=1e-6)
    names = [name for name, layer in model.module.named_modules() if isinstance(layer, (nn.Linear, nn.BatchNorm1d))]
    assert sorted(names) == ["body", "head", "norm"]
    assert sum(p.numel() for p in model.module.parameters()) == sum(p.numel() for p in module.parameters())
    again = saved.load(saved.save(model, tmp_path / "s.safetensors"))
    assert again.module.get_submodule("head").weight is again.module.get_submodule("embedding").weight
    with torch.no_grad():  # what trains one trains all
        for one in (again.module, module):
            one.get_parameter("embedding.weight").mul_(2)
            one.get_parameter("body.weight").add_(1)
    torch.testing.assert_close(again({"ids": ids})["output"], module(ids), rtol=0, atol=1e-5)


def test_it_takes_a_tasks_names_and_can_be_trained(tmp_path: Path) -> None:
    from paring.train.config import TrainConfig
    from paring.train.loop import fit

    text = export(tiny_network(), tmp_path / "m.pt2", torch.zeros(2, 1, 8, 8))
    model = load.open(text, task=TinyTask())
    assert model.inputs == TinyTask.inputs
    before = model.module.state_dict()["classifier.weight"].clone()
    fitted = fit(model, TinyTask(), TrainConfig(epochs=1, batch_size=16), seed=0, directory=tmp_path / "t")
    assert not torch.equal(fitted.module.state_dict()["classifier.weight"], before)


class Strange(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.cond(x.sum() > 0, lambda y: y + 1, lambda y: y - 1, (x,))


@pytest.mark.parametrize(
    ("module", "options", "problem"),
    [
        (nn.Linear(4, 2), {"fixed": True}, "fixed batch"),
        (nn.Sequential(nn.Linear(4, 2), nn.BatchNorm1d(2)), {"train": True}, "for training"),
        (nn.Sequential(nn.Linear(4, 2), nn.Dropout()), {"train": True}, "dropout for training"),
        (Strange(), {}, "cannot rebuild: torch.ops.higher_order.cond"),
    ],
)
def test_what_cannot_be_rebuilt_is_told(
    module: nn.Module, options: dict[str, bool], problem: str, tmp_path: Path
) -> None:
    with pytest.raises(ParingError, match=problem) as caught:
        load.open(export(module, tmp_path / "m.pt2", torch.zeros(2, 4), **options))
    assert caught.value.remedy


def test_another_shape_or_a_wrong_door_is_refused(tmp_path: Path) -> None:
    text = export(nn.Linear(4, 2), tmp_path / "m.pt2", torch.zeros(2, 4))
    with pytest.raises(ParingError, match="takes input float32"):
        load.open(text, shape=(TensorSpec("x", ("batch", 5)),))
    with pytest.raises(ParingError, match="pt2:") as caught:
        load.open(f"torch:{tmp_path / 'm.pt2'}", shape=(4,))
    assert "exported program" in caught.value.problem
    with pytest.raises(ParingError, match="there is no such file"):
        load.open("pt2:nowhere.pt2")


@pytest.fixture
def altered(tmp_path: Path) -> Callable[..., str]:
    """Writes an exported program with some of its entries replaced."""

    def write(change: Callable[[str, bytes], bytes], compression: int = zipfile.ZIP_STORED) -> str:
        export(nn.Linear(4, 2), tmp_path / "m.pt2", torch.zeros(2, 4))
        with zipfile.ZipFile(tmp_path / "m.pt2") as old, zipfile.ZipFile(tmp_path / "n.pt2", "w", compression) as new:
            for name in old.namelist():
                new.writestr(name, change(name, old.read(name)))
        return f"pt2:{tmp_path / 'n.pt2'}"

    return write


class Evil:
    def __reduce__(self) -> Any:
        return os.mkdir, ("ran",)


def test_the_pickles_in_the_archive_are_never_read(
    altered: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(Evil(), tmp_path / "evil.pt")
    evil = (tmp_path / "evil.pt").read_bytes()
    load.open(altered(lambda name, content: evil if name.endswith("sample_inputs/model.pt") else content))

    def pickled(name: str, content: bytes) -> bytes:
        if name.endswith("weights/weight_0"):
            return evil
        return content.replace(b'"use_pickle": false', b'"use_pickle": true') if "config" in name else content

    with pytest.raises(ParingError, match="as a pickle"):
        load.open(altered(pickled))
    assert not Path("ran").exists()


def test_text_in_the_archive_is_never_evaluated(
    altered: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    def change(name: str, content: bytes) -> bytes:
        if not name.endswith("models/model.json"):
            return content
        return content.replace(b"Symbol('s", b"__import__('os').mkdir('ran') or Symbol('s")

    load.open(altered(change))
    assert not Path("ran").exists()


def operator(target: str, name: str, content: bytes) -> bytes:
    if not name.endswith("models/model.json"):
        return content
    program = json.loads(content)
    program["graph_module"]["graph"]["nodes"][-1]["target"] = target
    return json.dumps(program).encode()


@pytest.mark.parametrize("target", ["torch.ops.aten.from_file.default", "os.system", "_operator.attrgetter"])
def test_operators_that_are_no_arithmetic_are_refused(altered: Callable[..., str], target: str) -> None:
    with pytest.raises(ParingError, match=f"cannot rebuild: {target}"):
        load.open(altered(lambda name, content: operator(target, name, content)))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda name, content: content[:-4] if "weights/weight_0" in name else content, "damaged"),
        (lambda name, content: content[:-9] if "model.json" in name else content, "damaged"),
        (lambda name, content: b"{}" if "model.json" in name else content, "damaged"),
        (lambda name, content: content.replace(b'"major": 8', b'"major": 99'), "version 99"),
        (lambda name, content: content.replace(b'"signature"', b'"signatura"'), "lacks"),
    ],
)
def test_a_damaged_or_foreign_file_is_refused(
    altered: Callable[..., str], change: Callable[[str, bytes], bytes], problem: str
) -> None:
    with pytest.raises(ParingError, match=problem):
        load.open(altered(change))


def test_a_compressed_or_truncated_archive_is_refused(altered: Callable[..., str], tmp_path: Path) -> None:
    with pytest.raises(ParingError, match="compressed"):
        load.open(altered(lambda _, content: content, zipfile.ZIP_DEFLATED))
    content = (tmp_path / "m.pt2").read_bytes()
    (tmp_path / "n.pt2").write_bytes(content[: len(content) // 2])
    with pytest.raises(ParingError, match="damaged"):
        load.open(f"pt2:{tmp_path / 'n.pt2'}")
