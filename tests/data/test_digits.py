import pytest
import torch

import paring.data

pytest.importorskip("sklearn")


def test_digits():
    task = paring.data.open("digits")
    assert [task.size(split) for split in ("train", "validation", "test")] == [1259, 179, 359]
    assert task.labels == tuple("0123456789")
    assert task.inputs[0].shape == ("batch", 1, 8, 8)
    assert (task.flip, task.shift) == (False, 1)
    train = torch.cat([batch.inputs["image"] for batch in task.batches("train", 500)])
    assert train.mean().item() == pytest.approx(0, abs=1e-4)
    assert train.std().item() == pytest.approx(1, abs=1e-3)
    assert (train.min().item(), train.max().item()) == task.inputs[0].range
    assert set(next(task.batches("test", 100)).targets.tolist()) == set(range(10))


def test_digits_resized():
    task = paring.data.open("digits(size=32)")
    assert next(task.batches("test", 4)).inputs["image"].shape == (4, 1, 32, 32)
    assert task.identity != paring.data.open("digits").identity
