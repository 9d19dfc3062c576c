"""NumPy archives: arrays of images and labels. They are never read whole, so a set may be larger than the memory."""

from __future__ import annotations

import math
import shutil
import struct
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Literal

import numpy as np

from paring.core.errors import ParingError, UnknownName
from paring.core.task import Split
from paring.data import cache
from paring.data.arrays import Arrays, Fit, Layout, Side, Stored
from paring.data.classification import ImageTask, Normalization
from paring.data.moments import moments
from paring.data.splits import Indices, divide

_SPLITS: tuple[Split, ...] = ("train", "validation", "test")
_CHANNELS = (1, 3)
_HOW = "write it with np.savez(file, x_train=…, y_train=…, x_test=…, y_test=…), or with x and y alone"


def open_npz(
    name: str,
    target: str,
    *,
    size: Side | None = None,
    flip: bool = True,
    layout: Literal["NHWC", "NCHW"] | None = None,
    labels: Sequence[str] | None = None,
) -> ImageTask:
    """Images and labels in a `.npz` file.

    It holds `x_train`, `y_train`, `x_test`, `y_test` and, if wanted, `x_validation`, `y_validation`; or `x` and `y`,
    which are then split. Images are uint8 or float, (N, H, W), (N, H, W, C) or (N, C, H, W); labels are whole numbers
    from 0. They are normalized by the mean and standard deviation of train.

    Args:
        name: of the task.
        target: the file.
        size: of the inputs, in pixels; the images' own if left out.
        flip: whether mirrored images are still of their class.
        layout: `NHWC` or `NCHW`, where the shape alone leaves it open.
        labels: names of the classes; "0", "1", … if left out.
    """
    path = Path(target).expanduser()
    members = read_members(path)
    parts = _parts(members, path)
    images = [members[x] for x, _ in parts.values()]
    arrays = Arrays(images, _layout(images, layout, path), Fit((0, 0), "none"))
    arrays = Arrays(images, arrays.layout, Fit.of(arrays.raw(np.zeros(1, np.int64)).shape[2:], size, str(path)))

    per_part = [_targets(members[y], y, path) for _, y in parts.values()]
    classes = max(1, min(int(per_part[0].max()) + 1, len(per_part[0])))  # every class has a sample in train
    names = tuple(labels) if labels else tuple(map(str, range(classes)))
    for part, (x, y) in zip(per_part, parts.values(), strict=True):
        if len(part) != len(members[x]):
            raise _wrong(f"{x} has {len(members[x])} samples, {y} has {len(part)}", path)
        if part.min() < 0 or part.max() >= len(names):
            outside = int(np.flatnonzero((part < 0) | (part >= len(names)))[0])
            problem = f"{y}[{outside}] is {part[outside]}, but the {len(names)} classes are 0 to {len(names) - 1}"
            raise ParingError(problem, str(path), "number the classes from 0, or name them all in labels=[…]")
    targets = np.concatenate(per_part)
    ends = np.cumsum([len(part) for part in per_part])
    given = {split: np.arange(end - len(y), end) for split, end, y in zip(parts, ends, per_part, strict=True)}

    content = cache.content(path)
    splits = divide(targets, given, names, str(path))
    return ImageTask(
        name=name,
        labels=names,
        images=arrays,
        targets=targets,
        splits=splits,
        normalization=_normalization(arrays, splits, content, str(path)),
        content=content,
        height_width=arrays.fit.size,
        resize=arrays.fit.how,
        flip=flip,
        shift=max(1, min(arrays.fit.size) // 28),
    )


def read_members(path: Path) -> dict[str, Stored]:
    """The arrays of an archive. Uncompressed ones stay where they are; others are unpacked into the cache, once.

    Raises:
        ParingError: the file is no archive, is damaged, or holds Python objects, which are not data.
    """
    try:
        with zipfile.ZipFile(path) as archive, path.open("rb") as file:
            return {
                member.filename.removesuffix(".npy"): _member(archive, member, file, path)
                for member in archive.infolist()
                if member.filename.endswith(".npy")
            }
    except FileNotFoundError as error:
        raise ParingError("there is no such file", str(path), _HOW) from error
    except (OSError, ValueError, EOFError, struct.error, zipfile.BadZipFile, zlib.error, RuntimeError) as error:
        raise _wrong(f"cannot be read as an .npz file ({error})", path) from error


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, file: IO[bytes], path: Path) -> Stored:
    if member.compress_type == zipfile.ZIP_STORED and not member.flag_bits & 1:
        file.seek(member.header_offset)
        name, extra = struct.unpack("<26xHH", file.read(30))  # lengths, at the end of the local header
        file.seek(name + extra, 1)
        return _stored(file, path, path, member.filename)
    raw = cache.folder() / "raw" / f"{cache.content(path)}-{Path(member.filename).name}"
    if not raw.is_file():
        with archive.open(member) as packed:
            cache.publish(raw, lambda out: shutil.copyfileobj(packed, out, cache.CHUNK))
    with raw.open("rb") as unpacked:
        return _stored(unpacked, raw, path, member.filename)


def _stored(file: IO[bytes], raw: Path, path: Path, member: str) -> Stored:
    """The array whose .npy header starts where `file` stands; its values follow."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(file)
    if dtype.hasobject:
        raise ParingError(f"{member} holds Python objects, which are code", str(path), "save it as numbers")
    if fortran and len(shape) > 1:
        raise ParingError(f"{member} is in Fortran order", str(path), "save np.ascontiguousarray of it")
    if file.tell() + math.prod(shape) * dtype.itemsize > raw.stat().st_size:
        raise _wrong(f"{member} is cut short", path)
    return Stored(raw, file.tell(), shape, dtype)


def _parts(members: Mapping[str, Stored], path: Path) -> dict[Split, tuple[str, str]]:
    """The names of images and labels of each official split."""
    pairs: dict[Split, tuple[str, str]] = {split: (f"x_{split}", f"y_{split}") for split in _SPLITS}
    if "x" in members and "x_train" not in members:
        pairs = {"train": ("x", "y")}
    known = {name for pair in pairs.values() for name in pair}
    for name in members:
        if name not in known and name.startswith(("x_", "y_")):
            raise UnknownName.of("array", name, known, str(path))
    parts = {split: pair for split, pair in pairs.items() if pair[0] in members or pair[1] in members}
    for x, y in parts.values():
        if x not in members or y not in members:
            raise _wrong(f"holds {x if x in members else y} without {y if x in members else x}", path)
        if 0 in members[x].shape or 0 in members[y].shape:
            raise _wrong(f"{x} or {y} is empty", path)
    if "train" not in parts:
        raise _wrong(f"holds neither x_train nor x, only: {', '.join(members) or 'nothing'}", path)
    return parts


def _layout(images: Sequence[Stored], wanted: Layout | None, path: Path) -> Layout:
    shape = images[0].shape
    for image in images:
        if image.shape[1:] != shape[1:] or image.dtype != images[0].dtype:
            raise _wrong(f"holds images of unlike shape or type: {shape[1:]} and {image.shape[1:]}", path)
        if image.dtype != np.uint8 and image.dtype.kind != "f":
            raise ParingError(f"holds images of {image.dtype}", str(path), "save images as uint8 (0 to 255) or float32")
    if len(shape) == 3:
        return "NHW"
    if len(shape) != 4:
        raise _wrong(f"holds images of shape {shape}; they need 3 or 4 dimensions", path)
    if wanted:
        return wanted
    last, second = shape[3] in _CHANNELS, shape[1] in _CHANNELS
    if last == second:
        problem = f"the shape {shape} does not say which dimension is the channels"
        raise ParingError(problem, str(path), "add (layout='NHWC') or (layout='NCHW')")
    return "NHWC" if last else "NCHW"


def _targets(array: Stored, name: str, path: Path) -> Indices:
    if array.dtype.kind not in "iu" or len(array.shape) != 1:
        problem = f"{name} is {array.dtype} of shape {array.shape}; labels are whole numbers, one for each sample"
        raise ParingError(problem, str(path), "save np.asarray(labels).astype(np.int64).ravel()")
    return array.whole().astype(np.int64)


def _normalization(arrays: Arrays, splits: Mapping[Split, Indices], content: str, where: str) -> Normalization:
    train = moments(arrays, splits["train"], content, where)
    if arrays.parts[0].dtype == np.uint8:
        return train.normalization(1 / 255)
    parts = [train, *(moments(arrays, splits[split], content, where) for split in ("validation", "test"))]
    raw = np.array([part.raw for part in parts])  # part, channel, (low, high)
    low, high = raw[:, :, 0].min(0), raw[:, :, 1].max(0)
    if arrays.fit.how == "pad":  # with black
        low, high = np.minimum(low, 0), np.maximum(high, 0)
    return train.normalization(1.0, tuple(zip(low.tolist(), high.tolist(), strict=True)))


def _wrong(problem: str, path: Path) -> ParingError:
    return ParingError(problem, str(path), _HOW)
