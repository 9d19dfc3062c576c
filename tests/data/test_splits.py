import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paring.core.errors import ParingError
from paring.data.splits import CALIBRATION, divide, shuffled


def names(classes):
    return [f"class {index}" for index in range(classes)]


@st.composite
def data_sets(draw):
    """Targets with enough samples of each class, and which official splits there are."""
    classes = draw(st.integers(1, 6))
    official = draw(st.sets(st.sampled_from(["validation", "test"])))
    parts = {}
    targets = []
    for split in ["train", *sorted(official)]:
        counts = draw(st.lists(st.integers(3, 40), min_size=classes, max_size=classes))
        part = np.repeat(np.arange(classes), counts)
        part = part[shuffled(len(part), draw(st.integers(0, 9)))]
        parts[split] = np.arange(len(targets), len(targets) + len(part))
        targets += part.tolist()
    return np.array(targets), parts, classes


@given(data_sets())
def test_splits_share_nothing_lose_nothing_and_hold_every_class(data):
    targets, given_parts, classes = data
    splits = divide(targets, given_parts, names(classes), "here")
    disjoint = np.concatenate([splits["train"], splits["validation"], splits["test"]])
    assert sorted(disjoint) == list(range(len(targets)))
    assert set(splits["calibration"]) <= set(splits["train"])
    assert len(set(splits["calibration"])) == min(CALIBRATION, len(splits["train"]))
    for split in ("train", "validation", "test"):
        assert set(targets[splits[split]]) == set(range(classes))
    for split, members in given_parts.items():
        if split != "train":
            assert set(splits[split]) == set(members)


def test_fashion_mnists_shares():
    targets = np.arange(70_000) % 10
    official = {"train": np.arange(60_000), "test": np.arange(60_000, 70_000)}
    splits = divide(targets, official, names(10), "here")
    assert (np.bincount(targets[splits["validation"]]) == 500).all()
    assert len(splits["train"]) == 55_000
    assert (splits["test"] == np.arange(60_000, 70_000)).all()  # an official test keeps its order


def test_without_a_test_split_70_10_20():
    splits = divide(np.arange(1000) % 5, {"train": np.arange(1000)}, names(5), "here")
    assert [len(splits[split]) for split in ("train", "validation", "test")] == [700, 100, 200]


def test_first_samples_of_a_sorted_set_are_of_all_classes():
    targets = np.repeat(np.arange(10), 200)
    splits = divide(targets, {"train": np.arange(2000)}, names(10), "here")
    for split in ("train", "calibration", "validation", "test"):
        assert set(targets[splits[split][:100]]) == set(range(10)), split


def test_the_same_on_every_machine():
    assert shuffled(8, 1).tolist() == [2, 4, 7, 5, 0, 6, 3, 1]
    splits = divide(np.arange(30) % 3, {"train": np.arange(30)}, names(3), "here")
    assert splits["validation"].tolist() == [9, 4, 29]
    assert splits["test"].tolist() == [23, 0, 19, 7, 18, 26]


def test_a_class_with_too_few_samples_is_named():
    targets = np.array([0] * 30 + [1] * 2 + [2] * 30)
    with pytest.raises(ParingError, match=r"'class 1' \(2\)") as caught:
        divide(targets, {"train": np.arange(62)}, names(3), "here")
    assert "3 samples or more" in caught.value.remedy


def test_a_class_without_samples_is_named():
    with pytest.raises(ParingError, match=r"'class 1' \(0\)"):
        divide(np.zeros(30, int), {"train": np.arange(30)}, names(2), "here")


def test_an_empty_split_is_refused():
    with pytest.raises(ParingError, match="the test split is empty"):
        divide(np.arange(30) % 3, {"train": np.arange(30), "test": np.arange(0)}, names(3), "here")
