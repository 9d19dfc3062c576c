"""IDX files, the format of MNIST and its kin: a header of a few bytes, then raw values."""

from __future__ import annotations

import gzip
import shutil
import struct
import zlib
from pathlib import Path

import numpy as np

from paring.core.errors import ParingError
from paring.core.task import Split
from paring.data import cache
from paring.data.arrays import Arrays, Fit, Side, Stored
from paring.data.classification import ImageTask, Normalization
from paring.data.moments import moments
from paring.data.splits import Indices, divide

FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
_UBYTE = 0x08


def find(folder: Path) -> dict[str, Path] | None:
    """The four files in a folder, each with `.gz` or without; None unless all are there."""
    found: dict[str, Path] = {}
    for name in FILES:
        for candidate in (folder / name, folder / f"{name}.gz"):
            if candidate.is_file():
                found.setdefault(name, candidate)
    return found if len(found) == len(FILES) else None


def read(path: Path, dimensions: int) -> Stored:
    """One file as an array; a compressed one is unpacked into the cache folder, once.

    Raises:
        ParingError: it is damaged, or no IDX file of bytes with so many dimensions.
    """
    raw = _unpacked(path) if path.suffix == ".gz" else path
    header = 4 + 4 * dimensions
    with raw.open("rb") as file:
        start = file.read(header)
    if len(start) < header or start[:4] != bytes((0, 0, _UBYTE, dimensions)):
        raise _damaged(path, f"is no IDX file of bytes with {dimensions} dimension{'s'[: dimensions > 1]}")
    shape = struct.unpack(f">{dimensions}I", start[4:])
    expected, actual = header + int(np.prod(shape, dtype=object)), raw.stat().st_size
    if 0 in shape or actual != expected:
        raise _damaged(path, f"says that it holds {shape}, {expected:,} bytes in all, but has {actual:,}")
    return Stored(raw, header, shape, np.dtype(np.uint8))


def open_idx(name: str, target: str, *, size: Side | None = None, flip: bool = False) -> ImageTask:
    """Any folder of four IDX files named like MNIST's.

    Args:
        name: of the task.
        target: the folder.
        size: of the inputs, in pixels; the images' own if left out.
        flip: whether mirrored images are still of their class (letters and digits are not).
    """
    found = find(Path(target).expanduser())
    if found is None:
        raise ParingError("does not hold the four IDX files", target, f"put {', '.join(FILES)} there, with .gz or not")
    return from_files(name, found, size=size, flip=flip)


def from_files(
    name: str,
    files: dict[str, Path],
    *,
    size: Side | None,
    flip: bool,
    labels: tuple[str, ...] = (),
    normalization: Normalization | None = None,
) -> ImageTask:
    """The task of four files; labels and normalization are taken from train if not given."""
    train, test = (read(files[FILES[index]], 3) for index in (0, 2))
    train_targets, test_targets = (_targets(files, index) for index in (1, 3))
    for images, targets, index in ((train, train_targets, 0), (test, test_targets, 2)):
        if len(images) != len(targets):
            raise _damaged(files[FILES[index]], f"holds {len(images)} images, but there are {len(targets)} labels")
    if train.shape[1:] != test.shape[1:]:
        raise _damaged(files[FILES[2]], f"holds images of {test.shape[1:]}, train of {train.shape[1:]}")
    labels = labels or tuple(str(index) for index in range(int(train_targets.max()) + 1))
    targets = np.concatenate([train_targets, test_targets])
    if int(targets.max()) >= len(labels):
        raise _damaged(files[FILES[3]], f"holds the label {targets.max()}, but there are {len(labels)} classes")

    numbers = np.arange(len(targets))
    given: dict[Split, Indices] = {"train": numbers[: len(train)], "test": numbers[len(train) :]}
    fit = Fit.of(train.shape[1:], size, name)
    arrays = Arrays((train, test), "NHW", fit)
    content = cache.combined(cache.content(read(files[file], 3 if "idx3" in file else 1).path) for file in FILES)
    splits = divide(targets, given, labels, name)
    return ImageTask(
        name=name,
        labels=labels,
        images=arrays,
        targets=targets,
        splits=splits,
        normalization=normalization or moments(arrays, splits["train"], content, name).normalization(1 / 255),
        content=content,
        height_width=fit.size,
        resize=fit.how,
        flip=flip,
        shift=max(1, fit.size[0] // 28),
    )


def _targets(files: dict[str, Path], index: int) -> Indices:
    return read(files[FILES[index]], 1).whole().astype(np.int64)


def _unpacked(path: Path) -> Path:
    raw = cache.folder() / "raw" / f"{path.stem}-{cache.content(path)}"
    if not raw.is_file():
        try:
            with gzip.open(path) as packed:
                cache.publish(raw, lambda file: shutil.copyfileobj(packed, file, cache.CHUNK))
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise _damaged(path, f"cannot be unpacked ({error})") from error
    return raw


def _damaged(path: Path, problem: str) -> ParingError:
    return ParingError(problem, str(path), "get the file again; a download that was cut short looks like this")
