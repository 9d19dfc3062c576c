"""Texts, end to end: a folder of transformers in, a table in, a LiteRT file out, with the same answers."""

from pathlib import Path

import pytest

import paring
from paring import api
from paring.testing.texts import bert_and_table


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a tiny BERT, and a table."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    bert_and_table(tmp_path)
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
