"""Folders of photos, one folder for each class; decoded in worker processes, a batch at a time."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from paring.core.errors import ParingError
from paring.core.task import Split
from paring.data import cache, photo
from paring.data.arrays import Side
from paring.data.classification import ImageTask, Normalization
from paring.data.splits import Indices, divide, shuffled

Workers = Annotated[int, Field(ge=0)]
IMAGENET = Normalization(1 / 255, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_SPLIT_FOLDERS: dict[str, Split] = {"train": "train", "validation": "validation", "val": "validation", "test": "test"}
_NO_IMAGES = frozenset({".txt", ".csv", ".json", ".jsonl", ".md", ".xml", ".yaml", ".yml", ".db", ".ini"})
_HASHED_BYTES = 1 << 30  # up to here the content is hashed, above it sizes and times
_MOST_WORKERS = 8
_FEW_SHOWN = 3


def open_folder(
    name: str, target: str, *, size: Side = 224, flip: bool = True, workers: Workers | None = None
) -> ImageTask:
    """Photos in `FOLDER/CLASS/*`, or in `FOLDER/SPLIT/CLASS/*` with splits `train`, `test`, `validation` (or `val`).

    Every file below a class's folder counts, but hidden ones and notes (.txt, .csv, .json, …). Photos become RGB, are
    turned as their EXIF data says, cut to the square in their middle and scaled. The identity covers the content of
    the files; where they are more than 1 GiB, their sizes and times of change instead.

    Args:
        name: of the task.
        target: the folder.
        size: of the inputs, in pixels.
        flip: whether mirrored images are still of their class.
        workers: processes that decode; 0 decodes in this one. As many as there are cores, 8 at most, if left out.

    Raises:
        ParingError: there are no classes, a class is empty, or files are no images of 8 bits, gray or RGB.
    """
    root = Path(target).expanduser()
    parts = _split_folders(root)
    labels = tuple(sorted(folder.name for folder in _folders(parts["train"])))
    paths: list[Path] = []
    targets: list[int] = []
    given: dict[Split, Indices] = {}
    empty: list[ParingError] = []
    for split, folder in parts.items():
        before = len(paths)
        for label, found in _photos(folder, labels, root).items():
            if not found:
                empty.append(ParingError("is a class without images", str(folder / label), "fill it, or remove it"))
            paths += found
            targets += [labels.index(label)] * len(found)
        given[split] = np.arange(before, len(paths))
    content = _checked(paths, root, empty)
    if "test" in given:  # a folder has no order but by class, and a limit shall leave all classes in
        given["test"] = given["test"][shuffled(len(given["test"]), 0)]

    classes = np.asarray(targets, np.int64)
    return ImageTask(
        name=name,
        labels=labels,
        images=Photos(tuple(str(path.absolute()) for path in paths), size, _cores() if workers is None else workers),
        targets=classes,
        splits=divide(classes, given, labels, target),
        normalization=IMAGENET,
        content=content,
        height_width=(size, size),
        resize="largest square in the middle, bilinear with antialiasing",
        flip=flip,
        shift=max(1, size // 28),
    )


@dataclass(frozen=True, slots=True)
class Photos:
    """Photos in files, decoded when they are asked for.

    Attributes:
        paths: of the files.
        size: of the images, in pixels.
        workers: processes that decode; 0 for this one.
    """

    paths: tuple[str, ...]
    size: int
    workers: int

    @property
    def channels(self) -> int:
        """Red, green, blue."""
        return 3

    def stream(self, batches: Sequence[Indices]) -> Iterator[Tensor]:
        """The images of each batch, NCHW, uint8.

        Raises:
            ParingError: a file cannot be decoded, or a worker was killed.
        """
        loader = DataLoader(
            _Decoded(self, batches),
            batch_size=None,  # an item is a batch already
            num_workers=self.workers if len(batches) > 1 else 0,
            collate_fn=_unchanged,
            generator=torch.Generator(),  # else it would draw from the generator that everybody shares
        )
        try:
            with warnings.catch_warnings():
                # JAX, which converters load, warns of any fork; the workers never call it
                warnings.filterwarnings("ignore", "os.fork", RuntimeWarning)
                answers = iter(loader)
            for answer in answers:
                if isinstance(answer, ParingError):
                    raise answer
                yield torch.from_numpy(answer).permute(0, 3, 1, 2).contiguous()
        except RuntimeError as error:
            if "DataLoader worker" not in str(error):
                raise
            remedy = "use a smaller batch, or fewer workers: images:folder(workers=2), or 0 for none"
            raise ParingError(f"a process that decodes images was killed ({error})", "images", remedy) from error


class _Decoded(Dataset[NDArray[np.uint8] | ParingError]):
    """Batches of photos. A fault is returned, not raised: workers can only hand on its text.

    Arrays, not tensors: those would travel through shared memory, of which containers have little.
    """

    def __init__(self, photos: Photos, batches: Sequence[Indices]) -> None:
        self.photos, self.batches = photos, batches

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, number: int) -> NDArray[np.uint8] | ParingError:
        try:
            paths = (Path(self.photos.paths[index]) for index in self.batches[number])
            return np.stack([photo.pixels(path, self.photos.size) for path in paths])
        except ParingError as error:
            return error


def _unchanged(item: Any) -> Any:
    return item


def _cores() -> int:
    """Workers that this process has cores for; none where they would only take turns with it."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return 0 if cores == 1 else min(cores, _MOST_WORKERS)


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _split_folders(root: Path) -> dict[Split, Path]:
    """The folder of each official split; the root itself as train where there are none."""
    if not root.is_dir():
        raise ParingError("there is no such folder", str(root), "write images:FOLDER, with one folder in it per class")
    parts: dict[Split, Path] = {"train": root}
    if (root / "train").is_dir() and _folders(root / "train"):  # else "train" is a class, beside "bus" and "ship"
        for folder in _folders(root):
            split = _SPLIT_FOLDERS.get(folder.name)
            if split is None or parts.get(split, root) != root:
                problem = f"{folder.name!r} stands beside train and is no split of its own"
                raise ParingError(problem, str(folder), f"use {', '.join(_SPLIT_FOLDERS)}; move other folders away")
            parts[split] = folder
    for folder in parts.values():
        if not _folders(folder):
            remedy = "put the images of each class into a folder of their own, named like the class"
            raise ParingError("holds no folder of a class", str(folder), remedy)
    return parts


def _photos(folder: Path, labels: Sequence[str], root: Path) -> dict[str, list[Path]]:
    """The files of each class, sorted by their path."""
    found: dict[str, list[Path]] = {label: [] for label in labels}
    for of_class in _folders(folder):
        if of_class.name not in found:
            raise ParingError("is a class that train does not have", str(of_class), "add it to train, or remove it")
        files = (path for path in sorted(of_class.rglob("*")) if path.is_file())
        found[of_class.name] = [path for path in files if not _ignored(path.relative_to(root))]
    return found


def _ignored(path: Path) -> bool:
    return path.suffix.lower() in _NO_IMAGES or any(part.startswith(".") for part in path.parts)


def _checked(paths: Sequence[Path], root: Path, empty: Sequence[ParingError]) -> str:
    """A digest of the files, after a look at every header; both are done once for files that stay as they are."""

    def look() -> str:
        faults = list(empty)
        for path in paths:
            try:
                photo.check(path)
            except ParingError as fault:
                faults.append(fault)
        if faults:
            raise _all_in_one(faults, root)
        small = sum(path.stat().st_size for path in paths) <= _HASHED_BYTES
        return cache.combined(f"{path.relative_to(root).as_posix()} {_digest(path, small)}" for path in paths)

    key, settled = cache.stamp(paths)
    return str(cache.remember(cache.combined((key, str(root.absolute()), "photos")), look, keep=settled and not empty))


def _digest(path: Path, small: bool) -> str:
    status = path.stat()
    return cache.sha256(path) if small else f"{status.st_size} {status.st_mtime_ns}"


def _all_in_one(faults: Sequence[ParingError], root: Path) -> ParingError:
    if len(faults) == 1:
        return faults[0]
    shown = "".join(f"\n  {fault.where}: {fault.problem}" for fault in faults[:_FEW_SHOWN])
    rest = f"\n  and {len(faults) - _FEW_SHOWN} more" if len(faults) > _FEW_SHOWN else ""
    remedy = "; ".join(dict.fromkeys(fault.remedy for fault in faults))
    return ParingError(f"{len(faults)} of its files and classes cannot be used:{shown}{rest}", str(root), remedy)
