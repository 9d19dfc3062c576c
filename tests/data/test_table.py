"""Tables of texts, end to end: file to batches."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from paring import data
from paring.core.errors import ParingError, UnknownName
from paring.core.task import Tokenization

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "good", "bad", "film", "plot", "very", "the"]


def tokenizer() -> str:
    made = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token=WORDS[1]))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(
        "[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1", [("[CLS]", 2), ("[SEP]", 3)]
    )
    return made.to_str()


MODEL = Tokenization(tokenizer(), 8, 16)


def samples(count: int = 60) -> list[dict[str, str]]:
    return [
        {
            "text": ("very " * (i % 3)) + ("the good film" if i % 2 else "the bad plot"),
            "label": "pos" if i % 2 else "neg",
        }
        for i in range(count)
    ]


def write(path: Path, rows: list[dict]) -> str:
    names = list(rows[0]) if rows else ["text", "label"]
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif path.suffix == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        mark = "\t" if path.suffix == ".tsv" else ","
        path.write_text("\n".join(mark.join(map(str, cells)) for cells in [names, *(row.values() for row in rows)]))
    return f"table:{path}"


def opened(text: str, **changes):
    return data.open(
        text, tokenization=Tokenization(**{"tokenizer": MODEL.tokenizer, "length": 8, "limit": 16, **changes})
    )


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "parquet"])
def test_every_kind_of_file_gives_the_same_samples(suffix: str, tmp_path: Path) -> None:
    task = opened(write(tmp_path / f"a.{suffix}", samples()))
    assert task.labels == ("neg", "pos")
    assert sum(task.size(split) for split in ("train", "validation", "test")) == 60
    for batch in task.batches("test", 5):
        assert batch.inputs["input_ids"].shape[1] == 8
        for ids, mask, target in zip(
            batch.inputs["input_ids"], batch.inputs["attention_mask"], batch.targets, strict=True
        ):
            said = [WORDS[i] for i in ids[mask.bool()]]
            assert (said[0], said[-1]) == ("[CLS]", "[SEP]")
            assert ("good" in said) == bool(target)
            assert (ids[~mask.bool()] == 0).all()


def test_training_batches_are_as_wide_as_they_need(tmp_path: Path) -> None:
    rows = samples()
    rows[0]["text"] = "very " * 30
    task = opened(write(tmp_path / "a.csv", rows), length=40, limit=64)
    widths = {batch.inputs["input_ids"].shape[1] for batch in task.batches("train", 1, shuffle=1)}
    assert widths <= {8, 32}
    assert {batch.inputs["input_ids"].shape[1] for batch in task.batches("validation", 1)} == {40}


def test_a_pass_can_be_taken_up_and_shared(tmp_path: Path) -> None:
    task = opened(write(tmp_path / "a.csv", samples()))
    whole = list(task.batches("train", 6, shuffle=3))
    for batch, again in zip(whole[2:], task.batches("train", 6, shuffle=3, skip=2), strict=True):
        assert torch.equal(batch.inputs["input_ids"], again.inputs["input_ids"])
    share = next(task.batches("train", 6, shuffle=3, shard=(1, 2)))
    assert torch.equal(share.targets, whole[0].targets[1::2])


def test_augmentation_changes_texts_and_no_classes(tmp_path: Path) -> None:
    task = opened(write(tmp_path / "a.csv", samples()))
    whole = list(task.batches("train", 6, shuffle=3, augment=True))
    plain = list(task.batches("train", 6, shuffle=3))
    assert all(torch.equal(one.targets, other.targets) for one, other in zip(whole, plain, strict=True))
    assert all(one.samples is None for one in whole)
    assert sum(int(one.inputs["attention_mask"].sum()) for one in whole) < sum(
        int(one.inputs["attention_mask"].sum()) for one in plain
    )
    for batch in whole:
        for ids, mask, target in zip(
            batch.inputs["input_ids"], batch.inputs["attention_mask"], batch.targets, strict=True
        ):
            said = [WORDS[i] for i in ids[mask.bool()]]
            assert (said[0], said[-1], said.count("[SEP]")) == ("[CLS]", "[SEP]", 1)
            assert not {"good", "film"} & set(said) if target == 0 else not {"bad", "plot"} & set(said)
    for batch, again in zip(whole[2:], task.batches("train", 6, shuffle=3, augment=True, skip=2), strict=True):
        assert torch.equal(batch.inputs["input_ids"], again.inputs["input_ids"])
    share = next(task.batches("train", 6, shuffle=3, augment=True, shard=(1, 2)))
    for own, other in zip(share.inputs["input_ids"], whole[0].inputs["input_ids"][1::2], strict=True):
        assert own[own != 0].tolist() == other[other != 0].tolist()


def test_how_texts_vary_is_an_option_and_part_of_the_identity(tmp_path: Path) -> None:
    text = write(tmp_path / "a.csv", samples())
    still = opened(f"{text}(vary={{'crop': 0, 'splice': 0, 'drop': 0}})")
    for one, other in zip(
        still.batches("train", 6, shuffle=3, augment=True), still.batches("train", 6, shuffle=3), strict=True
    ):
        assert torch.equal(one.inputs["input_ids"], other.inputs["input_ids"])
    assert still.identity != opened(text).identity
    with pytest.raises(ParingError, match=r"vary=\{'swap': 0.1\}: Extra inputs"):
        opened(f"{text}(vary={{'swap': 0.1}})")
    with pytest.raises(ParingError, match="crop and splice together"):
        opened(f"{text}(vary={{'crop': 0.7, 'splice': 0.7}})")


def test_pairs_are_not_varied(tmp_path: Path) -> None:
    rows = [{"a": "good film very good", "b": "bad", "label": i % 2} for i in range(30)]
    text = write(tmp_path / "a.csv", rows)
    task = opened(f"{text}(text=['a', 'b'])")
    for one, other in zip(
        task.batches("train", 7, shuffle=3, augment=True), task.batches("train", 7, shuffle=3), strict=True
    ):
        assert torch.equal(one.inputs["input_ids"], other.inputs["input_ids"])
    with pytest.raises(ParingError, match="belong together and are not varied"):
        opened(f"{text}(text=['a', 'b'], vary={{'drop': 0.2}})")


def test_two_columns_make_a_pair_with_types(tmp_path: Path) -> None:
    rows = [{"a": "good film", "b": "bad", "label": i % 2} for i in range(30)]
    task = opened(write(tmp_path / "a.csv", rows) + "(text=['a', 'b'])")
    batch = next(task.batches("test", 1))
    assert batch.inputs["input_ids"].tolist() == [[2, 4, 6, 3, 5, 3, 0, 0]]
    assert batch.inputs["token_type_ids"].tolist() == [[0, 0, 0, 0, 1, 1, 0, 0]]


def test_official_splits_are_kept_and_may_be_set_aside(tmp_path: Path) -> None:
    rows = [{**row, "split": ["train", "train", "train", "dev", "test"][i % 5]} for i, row in enumerate(samples(100))]
    text = write(tmp_path / "a.csv", rows)
    assert [opened(text).size(split) for split in ("train", "validation", "test")] == [60, 20, 20]
    assert opened(f"{text}(split='')").size("test") == 20
    assert opened(f"{text}(split='')").size("train") == 70


def test_numbers_are_labels_in_their_order(tmp_path: Path) -> None:
    rows = [{**row, "label": 10 if row["label"] == "pos" else 9} for row in samples()]
    task = opened(write(tmp_path / "a.csv", rows))
    assert task.labels == ("9", "10")
    assert opened(f"table:{tmp_path / 'a.csv'}(labels=['10', '9'])").labels == ("10", "9")


def test_what_is_cut_is_counted(tmp_path: Path) -> None:
    text = write(tmp_path / "a.csv", samples())
    task = opened(f"{text}(length=5)")  # [CLS] the bad plot [SEP]; two thirds have a word more
    assert task.notes == ("40 of 60 texts were longer than 5 tokens and were cut.",)
    assert opened(text).notes == ()


def test_identity_follows_content_tokenizer_and_length(tmp_path: Path) -> None:
    text = write(tmp_path / "a.csv", samples())
    same = write(tmp_path / "b.csv", samples())
    other = write(tmp_path / "c.csv", samples()[::-1])
    assert opened(text).identity == opened(same).identity
    assert len({opened(text).identity, opened(other).identity, opened(f"{text}(length=9)").identity}) == 3


def test_the_second_opening_does_not_tokenize(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from paring.data import tokens

    text = write(tmp_path / "a.csv", samples())
    first = opened(text)
    monkeypatch.setattr(tokens, "_tokenize", None)
    again = opened(text)
    assert np.array_equal(first.tokens.ids, again.tokens.ids)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda rows: rows[:0], "no rows"),
        (lambda rows: [{**row, "label": "a"} for row in rows], "one label only"),
        (lambda rows: [{**row, "text": ""} if i == 3 else row for i, row in enumerate(rows)], "row 4 has no text"),
        (lambda rows: [{**row, "label": ""} if i == 3 else row for i, row in enumerate(rows)], "row 4 has no label"),
        (lambda rows: [{**row, "split": "trian"} for row in rows], "'train'"),
        (lambda rows: [{"text": row["text"], "lable": row["label"]} for row in rows], "'lable'"),
        (lambda rows: [{**row, "label": "a,b"} for row in rows], "3 cells"),
    ],
)
def test_a_bad_table_is_refused(change, told: str, tmp_path: Path) -> None:
    with pytest.raises(ParingError, match=told):
        opened(write(tmp_path / "a.csv", change(samples())))


@pytest.mark.parametrize("cell", [None, float("nan")])
@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_a_missing_cell_is_no_word(cell, suffix: str, tmp_path: Path) -> None:
    rows = samples()
    rows[7]["label"] = None
    rows[9]["text"] = None if suffix == "parquet" else cell
    with pytest.raises(ParingError, match="row 8 has no label; row 10 has no text"):
        opened(write(tmp_path / f"a.{suffix}", rows))


def test_damaged_files_are_told(tmp_path: Path) -> None:
    for name, content, told in (
        ("a.csv", b"text,label\ngood \xff,1\n", "UTF-8"),
        ("a.csv", b"", "is empty"),
        ("a.csv", b'text,label\n"good,1\n', "cannot be read"),
        ("a.jsonl", b'{"text": "good", "label": 1}\n{"text"', "line 2"),
        ("a.jsonl", b"[1]\n", "no JSON object"),
        ("a.parquet", b"PAR1", "Parquet"),
        ("a.txt", b"text", "kind of table"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ParingError, match=told):
            opened(f"table:{tmp_path / name}")
    with pytest.raises(ParingError, match="no such file"):
        opened(f"table:{tmp_path / 'none.csv'}")


def test_texts_need_a_tokenizer_and_a_length_that_the_model_takes(tmp_path: Path) -> None:
    text = write(tmp_path / "a.csv", samples())
    with pytest.raises(ParingError, match="need a tokenizer"):
        data.open(text)
    with pytest.raises(ParingError, match="takes 16 tokens"):
        opened(f"{text}(length=17)")
    (tmp_path / "tokenizer.json").write_text(tokenizer())
    assert data.open(f"{text}(tokenizer={str(tmp_path)!r}, length=9)").inputs[0].sized(2) == (2, 9)
    with pytest.raises(ParingError, match="cannot be read"):
        data.open(f"{text}(tokenizer={text.removeprefix('table:')!r})")


def test_an_unknown_split_is_no_empty_one(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="'validation'"):
        list(opened(write(tmp_path / "a.csv", samples())).batches("validaton", 3))
