"""A checkpoint of another head is no classifier and no encoder: it is refused before it is loaded."""

import json
from pathlib import Path

import pytest
import torch
import transformers

from paring import load
from paring.core.errors import ParingError
from paring.testing.models import TinyTask
from paring.testing.transformers import FAMILIES, checkpoint, rewritten

_SMALL = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
_BERT, _DISTILBERT, _PICTURE = (FAMILIES[kind] for kind in ("bert", "distilbert", "vit"))
_RESNET = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic", "num_channels": 1}
_GPT2 = {"n_embd": 16, "n_layer": 1, "n_head": 2, "vocab_size": 50, "pad_token_id": 0}
OTHERS = {
    "TokenClassification": ("bert", _BERT),
    "QuestionAnswering": ("distilbert", _DISTILBERT),
    "MaskedLM": ("distilbert", _DISTILBERT),
    "CausalLM": ("gpt2", _GPT2),
    "MultipleChoice": ("bert", _BERT),
    "NextSentencePrediction": ("bert", _BERT),
    "PreTraining": ("bert", _BERT),
    "MaskedImageModeling": ("vit", _PICTURE),
    "SemanticSegmentation": (
        "segformer",
        {
            "num_encoder_blocks": 1, "depths": [1], "sr_ratios": [1], "hidden_sizes": [8], "patch_sizes": [4],
            "strides": [4], "num_attention_heads": [1], "mlp_ratios": [2],
        },
    ),
    "ObjectDetection": ("yolos", {**_SMALL, "image_size": [32, 32], "num_detection_tokens": 4}),
    "AudioClassification": ("wav2vec2", _SMALL),
}  # fmt: skip


@pytest.mark.parametrize("options", ["", "(classes=3)"])
@pytest.mark.parametrize("head", OTHERS)
def test_another_head_is_refused_unloaded(
    head: str, options: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint(*OTHERS[head], tmp_path, getattr(transformers, f"AutoModelFor{head}"))
    for auto in ("AutoModel", "AutoModelForSequenceClassification", "AutoModelForImageClassification"):
        monkeypatch.setattr(getattr(transformers, auto), "from_pretrained", None)
    with pytest.raises(ParingError, match="was made by") as refused:
        load.open(f"hf:{tmp_path}{options}")
    assert "torch:package.module:factory" in refused.value.remedy


def test_who_names_the_head_gets_the_body_with_a_new_one_and_is_told(tmp_path: Path) -> None:
    original = checkpoint("bert", _BERT, tmp_path, transformers.AutoModelForMaskedLM)
    model = load.open(f"hf:{tmp_path}(head='classify', classes=4, length=8)")
    assert "a new head was drawn" in model.history[0].changed
    name = "embeddings.word_embeddings.weight"
    assert torch.equal(model.module.get_parameter(f"model.bert.{name}"), original.get_parameter(f"bert.{name}"))


def test_an_encoder_takes_the_body_of_any_head_by_name(tmp_path: Path) -> None:
    checkpoint("bert", _BERT, tmp_path, transformers.AutoModelForTokenClassification)
    model = load.open(f"hf:{tmp_path}(head='encode', length=8)")
    assert model.outputs[0].shape == ("batch", 32)
    assert not model.history


def test_an_encoder_of_sentences_may_have_been_trained_as_a_masked_language_model(tmp_path: Path) -> None:
    checkpoint("bert", _BERT, tmp_path, transformers.AutoModelForMaskedLM)
    (tmp_path / "modules.json").write_text('[{"type": "sentence_transformers.models.Transformer"}]')
    assert load.open(f"hf:{tmp_path}(length=8)").outputs[0].shape == ("batch", 32)


@pytest.mark.parametrize("named", [[], ["BertForSequenceClassification"]])
def test_a_head_that_the_weights_lack_is_not_drawn_in_silence(named: list[str], tmp_path: Path) -> None:
    checkpoint("bert", _BERT, tmp_path, transformers.AutoModelForMaskedLM)
    rewritten(tmp_path, architectures=named)
    with pytest.raises(ParingError, match="weights of its head are not in the checkpoint"):
        load.open(f"hf:{tmp_path}")


def test_a_body_of_images_needs_a_number_of_classes(tmp_path: Path) -> None:
    checkpoint("vit", _PICTURE, tmp_path, transformers.AutoModel)
    with pytest.raises(ParingError, match="has no classifier"):
        load.open(f"hf:{tmp_path}")
    assert "drawn" in load.open(f"hf:{tmp_path}(classes=3)").history[0].changed


def test_an_unknown_kind_of_network_is_told_from_an_unknown_name(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "wav2vec2"}))
    with pytest.raises(ParingError, match="wav2vec2 is no classifier of images or texts"):
        load.open(f"hf:{tmp_path}")


@pytest.mark.parametrize(
    "values", [{"problem_type": "regression"}, {"problem_type": "multi_label_classification"}, {"num_labels": 1}]
)
def test_answers_that_are_no_classes_are_told_and_refused_by_a_task_of_labels(values: dict, tmp_path: Path) -> None:
    checkpoint("resnet", {**_RESNET, "num_labels": 3, **values}, tmp_path)
    entry = f"hf:{tmp_path}"
    assert "answers were" in load.open(entry, shape=(1, 8, 8)).history[0].changed
    with pytest.raises(ParingError, match="wants one of 10 classes"):
        load.open(entry, task=TinyTask())
    assert "a new head was drawn" in load.open(f"{entry}(head='classify')", task=TinyTask()).history[0].changed


@pytest.mark.parametrize(
    ("parts", "pooling", "told"),
    [
        (["Transformer", "Pooling"], {"pooling_mode_max_tokens": True}, "max_tokens"),
        (["Transformer", "Pooling"], {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": True}, "cls_token"),
        (["Transformer", "Pooling", "Dense"], {"pooling_mode_mean_tokens": True}, "Dense"),
    ],
)
def test_vectors_made_otherwise_are_refused(parts: list[str], pooling: dict, told: str, tmp_path: Path) -> None:
    checkpoint("bert", _BERT, tmp_path, transformers.AutoModel)
    (tmp_path / "modules.json").write_text(
        json.dumps([{"type": f"sentence_transformers.models.{one}"} for one in parts])
    )
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    with pytest.raises(ParingError, match=told):
        load.open(f"hf:{tmp_path}(length=8)")


def test_weights_of_another_kind_are_not_drawn_instead(tmp_path: Path) -> None:
    checkpoint("bert", _BERT, tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / "adapter_model.safetensors")
    with pytest.raises(ParingError, match="adapter_model"):
        load.open(f"hf:{tmp_path}")
