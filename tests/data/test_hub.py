"""Data sets of Hugging Face's library, from folders on this machine."""

import csv
from pathlib import Path

import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value
from tests.data.test_table import MODEL, samples

from paring import data
from paring.core.errors import ParingError, UnknownName
from paring.core.task import Task


def opened(text: str) -> Task:
    return data.open(text, tokenization=MODEL)


def saved(folder: Path, **splits: Dataset) -> str:
    DatasetDict(splits).save_to_disk(folder)
    return f"datasets:{folder}"


KINDS = Features({"text": Value("string"), "label": ClassLabel(names=["neg", "pos"])})


def named(rows: list[dict[str, object]]) -> Dataset:
    return Dataset.from_list(rows, features=KINDS)


def test_splits_and_names_of_labels_are_the_data_sets_own(tmp_path: Path) -> None:
    task = opened(
        saved(tmp_path / "d", train=named(samples(40)), validation=named(samples(10)), test=named(samples(12)))
    )
    assert task.labels == ("neg", "pos")
    assert [task.size(split) for split in ("train", "validation", "test")] == [40, 10, 12]
    batch = next(iter(task.batches("test", 12)))
    assert batch.targets.tolist() == [i % 2 for i in range(12)]
    assert {spec.name for spec in task.inputs} >= {"input_ids", "attention_mask"}


def test_one_split_is_divided(tmp_path: Path) -> None:
    Dataset.from_list(samples(100)).save_to_disk(tmp_path / "d")
    task = opened(f"datasets:{tmp_path / 'd'}")
    assert sum(task.size(split) for split in ("train", "validation", "test")) == 100
    assert min(task.size(split) for split in ("train", "validation", "test")) > 5


def test_a_folder_of_files_is_read(tmp_path: Path) -> None:
    for split, count in (("train", 30), ("test", 10)):
        with (tmp_path / f"{split}.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, ["text", "label"])
            writer.writeheader()
            writer.writerows(samples(count))
    task = opened(f"datasets:{tmp_path}")
    assert task.size("test") == 10
    assert task.labels == ("neg", "pos")


def test_the_same_data_have_the_same_identity(tmp_path: Path) -> None:
    one, two = (
        opened(saved(tmp_path / name, train=named(samples(count)), test=named(samples(10))))
        for name, count in (("a", 40), ("b", 41))
    )
    again = opened(f"datasets:{tmp_path / 'a'}")
    assert one.identity == again.identity != two.identity


def test_what_is_missing_is_told(tmp_path: Path) -> None:
    entry = saved(tmp_path / "d", train=named(samples(40)), test=named(samples(10)))
    with pytest.raises(UnknownName, match="no column is called 'txt'") as caught:
        opened(f"{entry}(text='txt')")
    assert "'text'" in caught.value.remedy
    hidden = Dataset.from_list([{**one, "label": -1} for one in samples(4)], features=KINDS)
    with pytest.raises(ParingError, match="has no label"):
        opened(saved(tmp_path / "hidden", train=named(samples(40)), test=hidden))
    with pytest.raises(ParingError, match="has no split 'train'"):
        opened(saved(tmp_path / "odd", extra=named(samples(10)), test=named(samples(10))))


def test_a_name_that_cannot_be_reached_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ParingError, match="cannot be had") as caught:
        opened("datasets:nobody/nothing-of-this-name")
    assert "network" in caught.value.remedy
