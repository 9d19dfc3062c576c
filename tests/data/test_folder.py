import os
import shutil

import numpy as np
import pytest
import torch

import paring.data
from paring.core.errors import MissingExtra, ParingError

Image = pytest.importorskip("PIL.Image")

COLORS = {"blue": (0, 0, 255), "green": (0, 255, 0), "red": (255, 0, 0)}


def fill(folder, count=10, classes=COLORS):
    for label in classes:
        (folder / label).mkdir(parents=True)
        for number in range(count):
            suffix = ".png" if number % 2 else ".jpg"
            Image.new("RGB", (20 + number, 24), COLORS[label]).save(folder / label / f"{number}{suffix}")
    return folder


@pytest.fixture
def photos(tmp_path):
    return fill(tmp_path / "photos")


def load(folder, options="size=16, workers=0"):
    return paring.data.open(f"images:{folder}({options})")


def told(batch):
    """The class of each image, by its colour."""
    return (2 - batch.inputs["image"].mean((2, 3)).argmax(1)).tolist()


@pytest.mark.parametrize("workers", [0, 2])
def test_a_folder_for_each_class(photos, workers):
    task = load(photos, f"size=16, workers={workers}")
    assert task.labels == ("blue", "green", "red")
    assert [task.size(split) for split in ("train", "validation", "test")] == [21, 3, 6]
    batches = list(task.batches("train", 4))
    assert [len(batch.targets) for batch in batches] == [4] * 5 + [1]
    assert batches[0].inputs["image"].shape == (4, 3, 16, 16)
    for batch in batches:
        assert told(batch) == batch.targets.tolist()


def test_workers_change_nothing(photos):
    here, there = load(photos), load(photos, "size=16, workers=2")
    state = torch.get_rng_state()
    for mine, theirs in zip(
        here.batches("train", 4, shuffle=1, augment=True),
        there.batches("train", 4, shuffle=1, augment=True),
        strict=True,
    ):
        assert torch.equal(mine.inputs["image"], theirs.inputs["image"])
        assert torch.equal(mine.targets, theirs.targets)
    assert here.identity == there.identity
    assert torch.equal(state, torch.get_rng_state())


def test_values_are_within_the_told_range(photos):
    task = load(photos)
    low, high = task.inputs[0].range
    assert (low, high) == pytest.approx((-2.1179, 2.64), abs=1e-3)
    images = torch.cat([batch.inputs["image"] for batch in task.batches("train", 8)])
    assert low <= images.min() <= images.max() <= high


@pytest.mark.parametrize("validation", [None, "validation", "val"])
def test_official_splits_are_kept(tmp_path, validation):
    fill(tmp_path / "set" / "train", 14)
    fill(tmp_path / "set" / "test", 4)
    if validation:
        fill(tmp_path / "set" / validation, 3)
    task = load(tmp_path / "set")
    expected = [42, 9, 12] if validation else [39, 3, 12]
    assert [task.size(split) for split in ("train", "validation", "test")] == expected
    tested = {task.images.paths[index] for index in task.splits["test"]}
    assert tested == {str(path) for path in (tmp_path / "set" / "test").rglob("*.*")}
    first = next(task.batches("test", 6)).targets.tolist()
    assert set(first) == {0, 1, 2}


def test_a_class_may_be_called_train(tmp_path):
    fill(tmp_path / "set")
    (tmp_path / "set" / "red").rename(tmp_path / "set" / "train")
    assert load(tmp_path / "set").labels == ("blue", "green", "train")


def test_hidden_files_and_notes_do_not_count(photos):
    (photos / "red" / ".DS_Store").write_bytes(b"x")
    (photos / "red" / "labels.txt").write_text("x")
    (photos / ".git").mkdir()
    assert load(photos).labels == ("blue", "green", "red")


def test_every_fault_that_headers_tell_is_told_at_once(photos):
    (photos / "red" / "text.png").write_text("this is no image")
    Image.new("CMYK", (20, 20)).save(photos / "blue" / "print.jpg")
    Image.fromarray(np.zeros((9, 9), np.uint16)).save(photos / "green" / "deep.png")
    (photos / "yellow").mkdir()
    (photos / "zebra").mkdir()
    with pytest.raises(ParingError) as caught:
        load(photos)
    text = str(caught.value)
    assert "5 of its files and classes" in text
    assert "yellow: is a class without images" in text
    assert "print.jpg: is a CMYK image" in text
    assert "and 2 more" in text
    assert "convert it to 8-bit RGB" in caught.value.remedy


def test_one_fault_is_told_with_its_path(photos):
    path = photos / "red" / "text.png"
    path.write_text("this is no image")
    with pytest.raises(ParingError, match="cannot be read") as caught:
        load(photos)
    assert caught.value.where == str(path)


def test_an_empty_class_is_told(photos):
    (photos / "yellow").mkdir()
    with pytest.raises(ParingError, match="yellow: is a class without images"):
        load(photos)


@pytest.mark.parametrize("workers", [0, 2])
def test_damaged_pixels_surface_as_an_error_of_ours(photos, workers):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    path = photos / "red" / "truncated.png"
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:3000])
    task = load(photos, f"size=16, workers={workers}")
    with pytest.raises(ParingError, match="cannot be read as an image") as caught:
        [list(task.batches(split, 1)) for split in ("train", "validation", "test")]
    assert caught.value.where == str(path)


def test_a_killed_worker_is_told(photos, monkeypatch):
    monkeypatch.setattr("paring.data.photo.pixels", lambda path, size: os.kill(os.getpid(), 9))
    task = load(photos, "size=16, workers=1")
    with pytest.raises(ParingError, match="was killed") as caught:
        list(task.batches("train", 3))
    assert "workers" in caught.value.remedy


def test_no_folder(tmp_path):
    with pytest.raises(ParingError, match="no such folder"):
        load(tmp_path / "nothing")


def test_images_without_class_folders(tmp_path):
    Image.new("RGB", (20, 20)).save(tmp_path / "a.png")
    with pytest.raises(ParingError, match="holds no folder of a class") as caught:
        load(tmp_path)
    assert "folder of their own" in caught.value.remedy


def test_a_class_that_train_does_not_have(tmp_path):
    fill(tmp_path / "set" / "train", classes=["red", "blue"])
    fill(tmp_path / "set" / "test")
    with pytest.raises(ParingError, match="green: is a class that train does not have"):
        load(tmp_path / "set")


@pytest.mark.parametrize("extra", ["holdout", "val"])
def test_a_folder_beside_train_that_is_no_split(tmp_path, extra):
    fill(tmp_path / "set" / "train")
    fill(tmp_path / "set" / "validation")
    fill(tmp_path / "set" / extra)
    with pytest.raises(ParingError, match="stands beside train"):
        load(tmp_path / "set")


def test_too_few_images_of_a_class(photos):
    for path in list((photos / "red").iterdir())[:8]:
        path.unlink()
    with pytest.raises(ParingError, match=r"'red' \(2\)"):
        load(photos)


def test_identity_is_of_the_content_not_of_the_place(photos, tmp_path):
    task = load(photos)
    shutil.copytree(photos, tmp_path / "moved")
    assert load(tmp_path / "moved").identity == task.identity
    assert load(photos, "size=20, workers=0").identity != task.identity
    Image.new("RGB", (20, 24), (250, 0, 0)).save(tmp_path / "moved" / "red" / "1.png")
    assert load(tmp_path / "moved").identity != task.identity


def test_large_folders_are_known_by_size_and_time(photos, monkeypatch):
    monkeypatch.setattr("paring.data.folder._HASHED_BYTES", 0)
    monkeypatch.setattr("paring.data.cache.sha256", lambda path: pytest.fail("read"))
    first = load(photos).identity
    os.utime(photos / "red" / "1.png", ns=(0, 0))
    assert load(photos).identity != first


def test_settled_folders_are_looked_at_once(photos, monkeypatch):
    for path in photos.rglob("*.*"):
        os.utime(path, ns=(0, 10**18))
    first = load(photos).identity
    monkeypatch.setattr("paring.data.photo.check", lambda path: pytest.fail("looked again"))
    assert load(photos).identity == first


def test_without_pillow_the_extra_is_named(photos, monkeypatch):
    import sys

    monkeypatch.delitem(sys.modules, "paring.data.folder")
    monkeypatch.delitem(sys.modules, "paring.data.photo")
    monkeypatch.delattr(paring.data, "photo")
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingExtra, match=r"paring\[images\]"):
        load(photos)
