import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

import paring.data
from paring.core.errors import ParingError, UnknownName
from paring.data import npz

chance = np.random.default_rng(0)


def arrays(count=60, shape=(8, 8), dtype=np.uint8, classes=3):
    x = chance.integers(0, 256, (count, *shape)).astype(np.uint8)
    return (x if dtype == np.uint8 else x.astype(dtype) / 50), np.arange(count) % classes


def official(**changes):
    (x, y), (x_test, y_test) = arrays(), arrays(30)
    return {"x_train": x, "y_train": y, "x_test": x_test, "y_test": y_test, **changes}


@pytest.fixture
def save(tmp_path):
    def save(packed=False, name="data.npz", **members):
        (np.savez_compressed if packed else np.savez)(tmp_path / name, **members)
        return tmp_path / name

    return save


def everything(task, split):
    return torch.cat([batch.inputs["image"] for batch in task.batches(split, 7)])


@pytest.mark.parametrize("packed", [False, True])
def test_official_splits(save, packed, cache_home):
    members = official(x_validation=arrays(9)[0], y_validation=arrays(9)[1])
    task = paring.data.open(f"npz:{save(packed, **members)}")
    assert [task.size(split) for split in ("train", "validation", "test")] == [60, 9, 30]
    assert task.labels == ("0", "1", "2")
    scale, mean, std = task.normalization.scale, *task.normalization.mean, *task.normalization.std
    raw = ((everything(task, "test")[:, 0] * std + mean) / scale).round().numpy()
    assert (raw == members["x_test"]).all()
    assert len(list(cache_home.glob("raw/*"))) == (6 if packed else 0)


def test_packed_once(save, monkeypatch):
    path = save(True, **official())
    first = paring.data.open(f"npz:{path}").identity
    monkeypatch.setattr(npz.shutil, "copyfileobj", lambda *_: pytest.fail("unpacked again"))
    assert paring.data.open(f"npz:{path}").identity == first


def test_without_official_splits(save):
    x, y = arrays(100)
    task = paring.data.open(f"npz:{save(x=x, y=y)}")
    assert [task.size(split) for split in ("train", "validation", "test")] == [70, 9, 21]


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, ">f8", np.float16])
def test_train_has_mean_0_and_deviation_1_and_all_are_in_range(save, dtype):
    x, y = arrays(90, (6, 5, 3), dtype)
    x[..., 1] = x[..., 1] / 2
    task = paring.data.open(f"npz:{save(x=x, y=y)}")
    train = everything(task, "train")
    assert train.dtype == torch.float32
    assert train.mean((0, 2, 3)).numpy() == pytest.approx(np.zeros(3), abs=1e-3)
    assert train.std((0, 2, 3)).numpy() == pytest.approx(np.ones(3), abs=1e-2)
    low, high = task.inputs[0].range
    images = torch.cat([everything(task, split) for split in ("train", "validation", "test")])
    assert low <= images.min() <= images.max() <= high
    if dtype != np.uint8:  # whose range is that of the type; of floats it is what occurs
        assert (images.min().item(), images.max().item()) == pytest.approx((low, high))


def test_the_range_covers_every_split(save):
    members = {name: array.astype(np.float32) for name, array in official().items() if name[0] == "x"}
    members["x_test"][4, 4, 4] = 5000
    members["x_validation"], members["y_validation"] = members["x_train"] * -1, official()["y_train"]
    task = paring.data.open(f"npz:{save(**{**official(), **members})}")
    assert task.inputs[0].range[1] == everything(task, "test").max() > 50
    assert task.inputs[0].range[0] == everything(task, "validation").min()


def test_far_from_zero_the_spread_is_still_right(save):
    x, y = arrays(90, (6, 6), np.float32)
    task = paring.data.open(f"npz:{save(x=x + 10_000, y=y)}")
    assert task.normalization.std[0] == pytest.approx(x[task.splits["train"]].std(), rel=1e-2)


def test_a_constant_channel_is_no_division_by_zero(save):
    x, y = np.full((30, 6, 6), 7, np.uint8), np.arange(30) % 3
    assert everything(paring.data.open(f"npz:{save(x=x, y=y)}"), "test").abs().max() < 1e-6


@pytest.mark.parametrize(
    ("shape", "options", "expected"),
    [
        ((8, 6), "", (1, 8, 6)),
        ((8, 6, 3), "", (3, 8, 6)),
        ((3, 8, 6), "", (3, 8, 6)),
        ((1, 8, 6), "", (1, 8, 6)),
        ((3, 5, 3), "(layout='NHWC')", (3, 3, 5)),
        ((4, 8, 6), "(layout='NCHW')", (4, 8, 6)),
        ((8, 8), "(size=20)", (1, 20, 20)),
    ],
)
def test_layouts_and_sizes(save, shape, options, expected):
    x, y = arrays(60, shape)
    task = paring.data.open(f"npz:{save(x=x, y=y)}{options}")
    assert task.inputs[0].shape == ("batch", *expected)
    assert next(task.batches("test", 2)).inputs["image"].shape == (2, *expected)


def test_names_of_classes(save):
    assert paring.data.open(f"npz:{save(**official())}(labels=['a', 'b', 'c'])").labels == ("a", "b", "c")


def not_finite(value, member):
    x = arrays(60, (8, 8), np.float32)[0]
    x[17, 3, 4] = value
    members = {name: array.astype(np.float32) if name[0] == "x" else array for name, array in official().items()}
    return {**members, member: x[: len(members[member])]}


@pytest.mark.parametrize(
    ("members", "problem"),
    [
        (not_finite(np.nan, "x_train"), "sample 17 holds NaN"),
        (not_finite(-np.inf, "x_test"), "sample 77 holds NaN"),
        (official(y_train=arrays()[1] - 1), r"y_train\[0\] is -1"),
        (official(y_test=arrays(30)[1] + 1), r"y_test\[2\] is 3, but the 3 classes are 0 to 2"),
        (official(y_train=arrays()[1] + 10**12), r"y_train\[0\] is 1000000000000"),
        (official(y_train=arrays()[1] * 1.0), "labels are whole numbers"),
        (official(y_train=np.eye(3)[arrays()[1]].astype(int)), "labels are whole numbers"),
        (official(y_train=arrays(59)[1]), "x_train has 60 samples, y_train has 59"),
        (official(x_test=arrays(30)[0][:0], y_test=np.arange(0)), "x_test or y_test is empty"),
        (official(x_test=arrays(30, (9, 9))[0]), "unlike shape"),
        (official(x_train=arrays()[0].astype(np.int32), x_test=arrays(30)[0].astype(np.int32)), "images of int32"),
        (official(x_train=np.zeros((60, 4)).astype(np.uint8), x_test=np.zeros((30, 4), np.uint8)), "3 or 4 dimensions"),
        (official(x_train=np.asfortranarray(arrays()[0])), "Fortran order"),
        ({"x_train": arrays()[0], "x_test": arrays()[0], "y_test": arrays()[1]}, "holds x_train without y_train"),
        ({"images": arrays()[0]}, "neither x_train nor x"),
        ({"x": arrays(60, (3, 5, 3))[0], "y": arrays()[1]}, "which dimension is the channels"),
        ({"x": arrays(60, (5, 9, 7))[0], "y": arrays()[1]}, "which dimension is the channels"),
        ({"x": arrays()[0], "y": np.array([0, 2] * 30)}, r"'1' \(0\)"),
    ],
)
def test_what_is_wrong_is_told_when_opened(save, members, problem):
    path = save(**members)
    with pytest.raises(ParingError, match=problem) as caught:
        paring.data.open(f"npz:{path}")
    assert caught.value.where == str(path)
    assert caught.value.remedy


def test_a_misspelled_array_is_not_passed_over(save):
    with pytest.raises(UnknownName, match="x_validation"):
        paring.data.open(f"npz:{save(**official(x_val=arrays(9)[0], y_val=arrays(9)[1]))}")


def test_no_pickle_is_loaded(save, tmp_path):
    class Trap:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "trap"),))

    with pytest.raises(ParingError, match="Python objects"):
        paring.data.open(f"npz:{save(**official(y_train=np.array([Trap()], dtype=object)))}")
    assert not (tmp_path / "trap").exists()


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("damage", [lambda d: d[:-100], lambda d: d[:1000] + d[1400:], lambda d: b"", lambda d: b"PK"])
def test_damaged_archives_are_named(save, packed, damage):
    path = save(packed, **official())
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ParingError) as caught:
        paring.data.open(f"npz:{path}")
    assert caught.value.where == str(path)


def test_a_sum_that_does_not_match_is_found_in_packed_archives(save):
    path = save(True, **official())
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        data[archive.getinfo("x_train.npy").header_offset + 1500] ^= 255
    path.write_bytes(data)
    with pytest.raises(ParingError, match="cannot be read"):
        paring.data.open(f"npz:{path}")


def test_an_array_that_claims_more_than_there_is(tmp_path):
    path = tmp_path / "data.npz"
    with zipfile.ZipFile(path, "w") as archive:
        with archive.open("y.npy", "w") as file:
            np.lib.format.write_array(file, arrays()[1])
        with archive.open("x.npy", "w") as file:
            header = {"descr": "|u1", "fortran_order": False, "shape": (60, 1000, 1000)}
            np.lib.format.write_array_header_1_0(file, header)
    with pytest.raises(ParingError, match=r"x\.npy is cut short"):
        paring.data.open(f"npz:{path}")


def test_no_file(tmp_path):
    with pytest.raises(ParingError, match="no such file"):
        paring.data.open(f"npz:{tmp_path / 'nothing.npz'}")


LARGE = """
import re, sys
import paring.data

def peak():
    return int(re.search(r"VmHWM:\\s*(\\d+) kB", open("/proc/self/status").read())[1]) >> 10

for name in ("small", "large"):
    task = paring.data.open(f"npz:{sys.argv[1]}/{name}.npz")
    seen = sum(len(batch.targets) for batch in task.batches("train", 64, shuffle=1))
    print(seen, peak())
"""


def large(path, samples):
    """Float images, 48 KiB each, in an archive that this process writes piece by piece."""
    with zipfile.ZipFile(path, "w") as archive:
        with archive.open("y.npy", "w") as file:
            np.lib.format.write_array(file, np.arange(samples) % 2)
        with archive.open("x.npy", "w") as file:
            header = {"descr": "<f4", "fortran_order": False, "shape": (samples, 3, 64, 64)}
            np.lib.format.write_array_header_1_0(file, header)
            for _ in range(samples // 100):
                file.write(np.ones((100, 3, 64, 64), np.float32))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from Linux's /proc")
def test_memory_does_not_grow_with_the_set(tmp_path):
    large(tmp_path / "small.npz", 500)
    large(tmp_path / "large.npz", 8_600)
    assert (tmp_path / "large.npz").stat().st_size > 400 << 20
    answer = subprocess.run(
        [sys.executable, "-c", LARGE, tmp_path], capture_output=True, text=True, check=True, timeout=60
    )
    (few, before), (many, after) = (map(int, line.split()) for line in answer.stdout.splitlines())
    assert many > 17 * few
    assert after - before < 40, f"the peak rose from {before} to {after} MiB"
