"""The front door `hf:`, against transformers itself, on tiny networks of each family."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from paring import load
from paring.core.entry import parse
from paring.core.errors import ParingError, UnknownName
from paring.core.model import Model
from paring.core.quiet import quiet
from paring.load import prove, saved
from paring.testing.doors import DoorContract
from paring.testing.transformers import checkpoint, rewritten

with quiet():
    from transformers import AutoModel

_BERT = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "vocab_size": 50,
    "max_position_embeddings": 32,
    "num_labels": 3,
}
_VIT = {key: value for key, value in _BERT.items() if key not in {"vocab_size", "max_position_embeddings"}}
TEXTS = {
    "distilbert": {
        "dim": 32, "hidden_dim": 64, "n_layers": 2, "n_heads": 2, "vocab_size": 50, "max_position_embeddings": 32,
        "num_labels": 3,
    },
    "bert": _BERT,
    "mobilebert": {
        **_BERT, "intermediate_size": 32, "embedding_size": 16, "intra_bottleneck_size": 16, "true_hidden_size": 16,
    },
}  # fmt: skip
IMAGES = {
    "mobilenet_v1": {"depth_multiplier": 0.25, "image_size": 32, "num_labels": 3},
    "mobilenet_v2": {"depth_multiplier": 0.25, "image_size": 32, "num_labels": 3},
    "mobilevit": {
        "image_size": 64, "hidden_sizes": [16, 24, 32], "neck_hidden_sizes": [8, 16, 16, 24, 24, 32, 64],
        "num_labels": 3,
    },
    "resnet": {
        "embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic", "num_labels": 3,
    },
    "vit": {**_VIT, "image_size": 32, "patch_size": 8},
    "deit": {**_VIT, "image_size": 32, "patch_size": 8, "architectures": ["DeiTForImageClassification"]},
}  # fmt: skip


class Logits(nn.Module):
    """The original, fed by position."""

    def __init__(self, model: nn.Module, *names: str) -> None:
        super().__init__()
        self.model, self.names = model, names

    def forward(self, *tensors: torch.Tensor) -> torch.Tensor:
        return self.model(**dict(zip(self.names, tensors, strict=True))).logits


class TestTexts(DoorContract):
    @pytest.fixture(params=sorted(TEXTS))
    def kind(self, request) -> str:
        return request.param

    @pytest.fixture
    def original(self, kind: str, tmp_path: Path) -> Logits:
        model = checkpoint(kind, TEXTS[kind], tmp_path / "checkpoint")
        types = [] if kind == "distilbert" else ["token_type_ids"]
        return Logits(model, "input_ids", "attention_mask", *types)

    @pytest.fixture
    def text(self, original: Logits, tmp_path: Path) -> str:
        return f"hf:{tmp_path / 'checkpoint'}(length=16)"

    @pytest.fixture
    def shape(self) -> tuple[int, ...]:
        return (16,)

    @pytest.fixture
    def batch(self, model: Model) -> tuple[torch.Tensor, ...]:
        """Each text has a first token: attention to nothing at all is not defined."""
        ids, mask, *types = (torch.from_numpy(array) for array in prove.samples(model.inputs))
        mask[:, 0] = 1
        return ids, mask, *types

    @pytest.fixture
    def weights(self) -> None:
        return None


class TestImages(DoorContract):
    @pytest.fixture(params=sorted(IMAGES))
    def kind(self, request) -> str:
        return request.param

    @pytest.fixture
    def original(self, kind: str, tmp_path: Path) -> Logits:
        return Logits(checkpoint(kind, IMAGES[kind], tmp_path / "checkpoint"), "pixel_values")

    @pytest.fixture
    def text(self, original: Logits, tmp_path: Path) -> str:
        return f"hf:{tmp_path / 'checkpoint'}"

    @pytest.fixture
    def shape(self, kind: str) -> tuple[int, ...]:
        return (3, 64, 64) if kind == "mobilevit" else (3, 32, 32)

    @pytest.fixture
    def weights(self) -> None:
        return None


def test_an_encoder_gives_the_mean_of_its_tokens_at_length_one(tmp_path: Path) -> None:
    model = checkpoint("bert", _BERT, tmp_path, AutoModel)
    (tmp_path / "modules.json").write_text(
        json.dumps(
            [{"type": f"sentence_transformers.models.{kind}"} for kind in ("Transformer", "Pooling", "Normalize")]
        )
    )
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "1_Pooling" / "config.json").write_text('{"pooling_mode_mean_tokens": true}')
    ids, mask = torch.randint(0, 50, (2, 8)), torch.tensor([[1] * 5 + [0] * 3, [1] * 8])
    found = load.open(f"hf:{tmp_path}(length=8)")({"input_ids": ids, "attention_mask": mask, "token_type_ids": ids * 0})
    with torch.inference_mode():
        states = model(ids, mask).last_hidden_state
    wanted = torch.stack([states[0, :5].mean(0), states[1].mean(0)])
    torch.testing.assert_close(found["output"], wanted / wanted.norm(dim=1, keepdim=True), atol=1e-5, rtol=1e-4)


def test_a_head_for_other_classes_is_drawn_from_the_seed_and_told(tmp_path: Path) -> None:
    checkpoint("distilbert", TEXTS["distilbert"], tmp_path)
    one, same, other = (load.open(f"hf:{tmp_path}(classes=5)", seed=seed) for seed in (1, 1, 2))
    assert one.outputs[0].shape == ("batch", 5)
    assert "classifier" in one.history[0].changed
    head = [model.module.get_parameter("model.classifier.weight") for model in (one, same, other)]
    assert torch.equal(head[0], head[1])
    assert not torch.equal(head[0], head[2])


def test_an_architecture_alone_is_built_from_its_values() -> None:
    values = TEXTS["distilbert"]
    one, same, other = (load.open(f"hf:distilbert(config={values})", seed=seed) for seed in (0, 0, 1))
    first = [next(model.module.parameters()) for model in (one, same, other)]
    assert torch.equal(first[0], first[1])
    assert not torch.equal(first[0], first[2])
    assert "drawn at random" in one.history[0].changed
    assert load.made_by(f"hf:distilbert(config={values})") == "hf"


def test_a_saved_model_knows_its_tokenizer_and_needs_no_folder(tmp_path: Path, tokenizer: str) -> None:
    checkpoint("bert", _BERT, tmp_path / "checkpoint")
    (tmp_path / "checkpoint" / "tokenizer.json").write_text(tokenizer)
    model = load.open(f"hf:{tmp_path / 'checkpoint'}(length=12)")
    path = saved.save(model, tmp_path / "model.safetensors")
    (tmp_path / "checkpoint").rename(tmp_path / "gone")
    found = load.tokenization(str(path))
    assert (found.tokenizer, found.length, found.limit) == (tokenizer, 12, 32)
    assert load.made_by(str(path)) == "hf"
    saved.load(path)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda path: (path / "config.json").unlink(), "no config.json"),
        (lambda path: (path / "config.json").write_text("{"), "cannot be read"),
        (lambda path: (path / "config.json").write_text("{}"), "model_type"),
        (
            lambda path: (path / "config.json").write_text('{"model_type": "bert", "auto_map": {"A": "b"}}'),
            "never exec",
        ),
        (lambda path: (path / "model.safetensors").write_bytes(b"broken"), "cannot be loaded"),
        (lambda path: (path / "model.safetensors").rename(path / "pytorch_model.bin"), "pickle"),
        (lambda path: (path / "config.json").write_text('{"model_type": "brt"}'), "bert"),
    ],
)
def test_a_bad_folder_is_refused(change, told: str, tmp_path: Path) -> None:
    checkpoint("bert", _BERT, tmp_path)
    change(tmp_path)
    with pytest.raises(ParingError, match=told):
        load.open(f"hf:{tmp_path}")


def test_a_checkpoint_of_another_architecture_is_refused(tmp_path: Path) -> None:
    checkpoint("bert", _BERT, tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "distilbert", **TEXTS["distilbert"]}))
    with pytest.raises(ParingError, match="not in the checkpoint"):
        load.open(f"hf:{tmp_path}")


def test_a_network_of_fewer_layers_than_its_weights_is_refused(tmp_path: Path) -> None:
    checkpoint("bert", _BERT, tmp_path)
    rewritten(tmp_path, num_hidden_layers=1)
    with pytest.raises(ParingError, match=r"16 tensors of the checkpoint are not in the architecture"):
        load.open(f"hf:{tmp_path}")


def test_a_tokenizer_that_knows_too_much_is_refused(tmp_path: Path, tokenizer: str) -> None:
    checkpoint("bert", {**_BERT, "vocab_size": 6}, tmp_path)
    (tmp_path / "tokenizer.json").write_text(tokenizer)
    with pytest.raises(ParingError, match="embeddings for 6"):
        load.open(f"hf:{tmp_path}")


def test_a_name_without_a_hub_asks_for_a_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    def offline(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)
    with pytest.raises(ParingError, match="local folder"):
        load.open("hf:someone/something")
    with pytest.raises(ParingError, match="no such folder"):
        load.open("hf:./someone/something")


@pytest.mark.parametrize("options", ["lenght=3", "length=0", "head='decode'", "length=64", "head='encode', config=3"])
def test_a_bad_option_is_refused(options: str, tmp_path: Path) -> None:
    checkpoint("bert", _BERT, tmp_path)
    with pytest.raises(ParingError):
        load.open(f"hf:{tmp_path}({options})")


def test_an_unknown_option_names_the_nearest() -> None:
    from paring.load.huggingface import door

    with pytest.raises(UnknownName, match="'length'"):
        door.tokenization(parse("hf:bert(lenght=3)"))


def test_a_long_configuration_is_no_path() -> None:
    values = {**TEXTS["distilbert"], "id2label": {str(i): f"class number {i}" for i in range(40)}}
    assert load.open(f"hf:distilbert(config={values}, classes=40)").outputs[0].shape == ("batch", 40)
