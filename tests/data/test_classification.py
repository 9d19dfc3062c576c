import dataclasses
import math

import numpy as np
import pytest
import torch

from paring.core.errors import ParingError, UnknownName
from paring.data.arrays import Arrays, Fit
from paring.data.classification import ImageTask, Normalization
from paring.data.splits import divide


def make(images=None, count=120, **changes):
    images = np.random.default_rng(0).integers(0, 256, (count, 6, 6, 2)).astype(np.uint8) if images is None else images
    targets = np.arange(len(images)) % 3
    fields = {
        "name": "mine",
        "labels": ("a", "b", "c"),
        "images": Arrays((images,), "NHWC", Fit((6, 6), "none")),
        "targets": targets,
        "splits": divide(targets, {"train": np.arange(len(images))}, "abc", "mine"),
        "normalization": Normalization(1 / 255, (0.5, 0.25), (0.5, 0.125)),
        "content": "content",
        "height_width": (6, 6),
        "resize": "none",
        "flip": True,
        "shift": 1,
    }
    return ImageTask(**{**fields, **changes})


def everything(task, *arguments, **options):
    batches = list(task.batches(*arguments, **options))
    return torch.cat([batch.inputs["image"] for batch in batches]), torch.cat([batch.targets for batch in batches])


def test_a_batch_holds_normalized_images_and_their_classes():
    task = make()
    images, targets = everything(task, "test", 10)
    raw = task.images.parts[0][task.splits["test"]].transpose(0, 3, 1, 2)
    expected = (raw / 255 - np.array([0.5, 0.25])[:, None, None]) / np.array([0.5, 0.125])[:, None, None]
    assert images.dtype == torch.float32
    assert targets.dtype == torch.int64
    np.testing.assert_allclose(images.numpy(), expected, atol=1e-5)
    assert (targets.numpy() == task.splits["test"] % 3).all()
    assert task.size("test") == len(targets)


def test_the_input_tells_its_shape_and_true_range():
    (spec,) = make().inputs
    assert (spec.name, spec.shape, spec.layout) == ("image", ("batch", 2, 6, 6), "NCHW")
    assert spec.range == pytest.approx((-2.0, 6.0))
    extremes = make(np.stack([np.zeros((6, 6, 2), np.uint8), np.full((6, 6, 2), 255, np.uint8)] * 15))
    images, _ = everything(extremes, "train", 10)
    assert (images.min().item(), images.max().item()) == spec.range


def test_preprocessing_is_enough_to_do_it_again():
    task = make()
    told = task.preprocessing
    raw = task.images.parts[0][task.splits["test"][:1]].astype(float)
    again = (raw * told["scale"] - np.array(told["mean"])) / np.array(told["std"])
    images, _ = everything(task, "test", 1, limit=1)
    np.testing.assert_allclose(images.numpy(), again.transpose(0, 3, 1, 2), atol=1e-5)
    assert told["size"] == [6, 6]


@pytest.mark.parametrize("augment", [False, True])
def test_a_pass_taken_up_again_gives_the_same_batches(augment):
    task = make()
    whole = list(task.batches("train", 16, shuffle=3, augment=augment))
    rest = list(task.batches("train", 16, shuffle=3, augment=augment, skip=2))
    assert len(whole) == 84 // 16
    assert len(rest) == len(whole) - 2
    for batch, again in zip(whole[2:], rest, strict=True):
        assert torch.equal(batch.inputs["image"], again.inputs["image"])
        assert torch.equal(batch.targets, again.targets)


def test_shards_together_are_the_batch():
    task = make()
    (whole,) = task.batches("train", 60, limit=60, shuffle=1, augment=True)
    for index in range(3):
        (share,) = task.batches("train", 60, limit=60, shuffle=1, augment=True, shard=(index, 3))
        assert torch.equal(share.inputs["image"], whole.inputs["image"][index::3])
        assert torch.equal(share.targets, whole.targets[index::3])


def test_augmentation_changes_images_and_no_classes():
    task = make()
    plain, targets = everything(task, "train", 84)
    varied, same = everything(task, "train", 84, augment=True)
    assert torch.equal(targets, same)
    assert not torch.equal(plain, varied)
    low, high = task.inputs[0].range
    assert varied.min() >= low
    assert varied.max() <= high


def test_a_pass_leaves_the_data_as_it_was():
    images = np.ones((60, 6, 6, 2), np.float32)
    task = make(images.copy())
    for _ in task.batches("train", 8, augment=True):
        pass
    assert (task.images.parts[0] == images).all()


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
def test_a_sample_that_is_not_finite_is_named(wrong):
    images = np.ones((60, 6, 6, 2), np.float32)
    task = make(images)
    sample = int(task.splits["test"][3])
    images[sample, 2, 2, 1] = wrong
    with pytest.raises(ParingError, match=f"sample {sample} "):
        everything(task, "test", 8)


def test_loss_is_cross_entropy_with_smoothing():
    logits, targets = torch.tensor([[2.0, 0.0, 0.0], [0.0, 0.0, 0.0]]), torch.tensor([0, 2])
    task = make()
    first = math.log(math.exp(2) + 2) - 2
    assert task.loss({"out": logits}, targets).item() == pytest.approx((first + math.log(3)) / 2)
    smooth = 0.9 * first + 0.1 * (math.log(math.exp(2) + 2) - 2 / 3)
    assert task.loss({"out": logits}, targets, 0.1).item() == pytest.approx((smooth + math.log(3)) / 2)
    with pytest.raises(ParingError, match="2: a, b"):
        task.loss({"a": logits, "b": logits}, targets)


def test_identity_follows_everything_that_changes_what_a_batch_holds():
    task = make()
    assert task.identity == make().identity
    assert task.identity == dataclasses.replace(task, name="renamed").identity
    changes = {
        "content": "other",
        "flip": False,
        "shift": 2,
        "normalization": Normalization(1 / 255, (0.5, 0.3), (0.5, 0.125)),
        "splits": {**task.splits, "train": task.splits["train"][1:]},
    }
    others = {dataclasses.replace(task, **{field: value}).identity for field, value in changes.items()}
    assert len(others) == len(changes)
    assert task.identity not in others


def test_an_unknown_split_is_no_empty_one():
    with pytest.raises(UnknownName, match="'validation'"):
        list(make().batches("validaton", 3))
