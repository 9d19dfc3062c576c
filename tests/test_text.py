"""Texts, end to end: a folder of transformers in, a table in, a LiteRT file out, with the same answers."""

from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

import paring
from paring import api
from paring.core.quiet import quiet

WORDS = ["[PAD]", "[UNK]", "good", "bad", "film", "plot", "very", "the"]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a tiny BERT, and a table."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with quiet():
        from transformers import AutoConfig, AutoModelForSequenceClassification

        values = {
            "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
            "vocab_size": len(WORDS), "max_position_embeddings": 16,
        }  # fmt: skip
        AutoModelForSequenceClassification.from_config(AutoConfig.for_model("bert", **values)).save_pretrained(
            tmp_path / "bert"
        )
    made = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token=WORDS[1]))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.save(str(tmp_path / "bert" / "tokenizer.json"))
    rows = ["the very good film,yes" if i % 2 else "the bad plot,no" for i in range(160)]
    (tmp_path / "table.csv").write_text("\n".join(["text,label", *rows]))
    return tmp_path


def test_a_text_classifier_is_trained_and_answers_the_same_in_litert(home: Path) -> None:
    data = f"table:{home / 'table.csv'}(length=3)"  # the longer half is cut, and it is told
    config = {"epochs": 4, "batch_size": 16, "learning_rate": 1e-2, "optimizer": "adamw"}
    record = api.train_model(f"hf:{home / 'bert'}", data, home / "trained", config)
    assert record.value == 100
    (home / "bert").rename(home / "gone")
    recipe = {"version": 1, "model": str(home / "trained.safetensors"), "data": data, "targets": ["litert"]}
    result = paring.compress(recipe, out=home / "run")
    found = {one.metric: one.value for one in result.report.records if one.stage == "artifact:litert"}
    assert (found["accuracy"], found["agreement"]) == (100, 100)
    assert found["sqnr"] > 80
    assert any("80 of 160 texts" in note for note in result.report.notes)
    again = api.evaluate(result.artifacts["litert"], data[:-1] + f", tokenizer={str(home / 'gone')!r})")
    assert again[0].value == 100
