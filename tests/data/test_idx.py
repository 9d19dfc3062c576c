import pytest

import paring.data
from paring.core.errors import ParingError
from paring.data import idx


@pytest.mark.parametrize("packed", [True, False])
def test_a_folder_becomes_a_task(tmp_path, write_idx, packed):
    write_idx(tmp_path / "set", packed=packed)
    task = paring.data.open(f"idx:{tmp_path / 'set'}")
    assert [task.size(split) for split in ("train", "validation", "test")] == [38, 10, 12]
    assert task.labels == tuple("0123456789")
    assert not task.flip
    images, targets = next((b.inputs["image"], b.targets) for b in task.batches("test", 12))
    assert targets.tolist() == [*range(10), 0, 1]
    scale, (mean,), (std,) = task.normalization.scale, task.normalization.mean, task.normalization.std
    assert ((images[:, 0, 5, 5] * std + mean) / scale).round().tolist() == list(range(12))


def test_packed_and_unpacked_are_the_same_data(tmp_path, write_idx):
    identities = {
        paring.data.open(f"idx:{write_idx(tmp_path / str(packed), packed=packed)}").identity for packed in (True, False)
    }
    assert len(identities) == 1


def test_unpacked_once(tmp_path, write_idx, monkeypatch, cache_home):
    write_idx(tmp_path / "set")
    paring.data.open(f"idx:{tmp_path / 'set'}")
    assert len(list((cache_home / "raw").iterdir())) == 4
    monkeypatch.setattr(idx.gzip, "open", lambda path: pytest.fail("unpacked again"))
    paring.data.open(f"idx:{tmp_path / 'set'}")


def test_size_pads(tmp_path, write_idx):
    task = paring.data.open(f"idx:{write_idx(tmp_path / 'set')}(size=32)")
    assert task.inputs[0].shape == ("batch", 1, 32, 32)
    assert task.preprocessing["resize"] == "pad"


def test_a_missing_file_is_told(tmp_path, write_idx):
    write_idx(tmp_path / "set")
    (tmp_path / "set" / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(ParingError, match="t10k-labels-idx1-ubyte"):
        paring.data.open(f"idx:{tmp_path / 'set'}")


def cut(data):
    return data[:-10]


def grow(data):
    return data + b"more"


def other_type(data):
    return data[:2] + b"\x0d" + data[3:]


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("damage", [cut, grow, other_type, lambda data: b"", lambda data: b"<html>no such page</html>"])
def test_damaged_files_are_named(tmp_path, write_idx, packed, damage):
    write_idx(tmp_path / "set", packed=packed)
    (path,) = (tmp_path / "set").glob("train-images*")
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ParingError) as caught:
        paring.data.open(f"idx:{tmp_path / 'set'}")
    assert caught.value.where == str(path)


def test_files_that_do_not_belong_together_are_refused(tmp_path, write_idx):
    write_idx(tmp_path / "set")
    write_idx(tmp_path / "other", train=50)
    name = "train-labels-idx1-ubyte.gz"
    (tmp_path / "other" / name).replace(tmp_path / "set" / name)
    with pytest.raises(ParingError, match="48 images, but there are 50 labels"):
        paring.data.open(f"idx:{tmp_path / 'set'}")


def test_images_of_two_sizes_are_refused(tmp_path, write_idx):
    write_idx(tmp_path / "set")
    write_idx(tmp_path / "other", side=20)
    name = "t10k-images-idx3-ubyte.gz"
    (tmp_path / "other" / name).replace(tmp_path / "set" / name)
    with pytest.raises(ParingError, match=r"\(20, 20\)"):
        paring.data.open(f"idx:{tmp_path / 'set'}")
