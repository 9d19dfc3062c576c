"""Fashion-MNIST: 70,000 images of clothes, 28 x 28 pixels, in 10 classes (Xiao, Rasul and Vollgraf, 2017)."""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from paring.core import debian
from paring.core.errors import ParingError
from paring.data import cache, idx
from paring.data.arrays import Side
from paring.data.classification import ImageTask, Normalization

LABELS = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
PACKAGE = "dataset-fashion-mnist"  # Debian's and Ubuntu's
SYSTEM = Path("/usr/share/datasets/fashion-mnist")  # where that package puts the files
URL = "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/"  # the authors' repository
MD5 = dict(
    zip(
        idx.FILES,
        (  # as published beside the compressed files
            "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            "25c81989df183df01b3e8a0aad5dffbe",
            "bef4ecab320f06d8554ea6380940ec79",
            "bb300cfdad3c16e7a12a480ee83cd310",
        ),
        strict=True,
    )
)
_TIMEOUT = 120  # seconds, for an answer of the server


def open_fashion_mnist(name: str, *, size: Side | None = None) -> ImageTask:
    """Fashion-MNIST, one channel; 55,000 train, 5,000 validation, 10,000 test.

    Args:
        name: of the task.
        size: of the inputs, in pixels; 28 if left out.
    """
    files = find() or fetch()
    normalization = Normalization(1 / 255, (0.2860,), (0.3530,))
    return idx.from_files(name, files, size=size, flip=True, labels=LABELS, normalization=normalization)


def find() -> dict[str, Path] | None:
    """The four files, if they are on this machine: in `$PARING_DATA`, in the cache folder, or in Debian's place."""
    return next((found for found in map(idx.find, _folders()) if found), None)


def fetch() -> dict[str, Path]:
    """The four files, brought into the cache folder: from Debian's package where there is apt, else downloaded.

    Raises:
        ParingError: neither way worked; the remedy names every way.
    """
    problems: list[str] = []
    for way in (_from_debian, _from_web):
        try:
            way(_home())
        except (OSError, subprocess.SubprocessError, ValueError) as error:
            problems.append(str(error))
        found = idx.find(_home())
        if found:
            return found
    raise ParingError(
        f"is not on this machine and could not be fetched ({'; '.join(problems)})",
        "fashion-mnist",
        f"one of: (1) apt-get install {PACKAGE}; (2) set PARING_DATA to a folder with the four files "
        f"{', '.join(idx.FILES)} (.gz or not); (3) allow the download from {URL}",
    )


def _home() -> Path:
    return cache.folder() / "fashion-mnist"


def _folders() -> Iterator[Path]:
    data = os.environ.get("PARING_DATA")
    if data:
        yield Path(data)
        yield Path(data) / "fashion-mnist"
    yield _home()
    yield SYSTEM


def _from_debian(home: Path) -> None:
    """Unpacks the package without installing it."""
    home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home.parent) as draft:
        debian.unpack([PACKAGE], Path(draft))
        unpacked = idx.find(Path(draft, *SYSTEM.parts[1:])) or {}
        for path in unpacked.values():
            path.replace(home / path.name)


def _from_web(home: Path) -> None:
    for name in idx.FILES:
        _download(f"{name}.gz", MD5[name], home)


def _download(name: str, md5: str, home: Path) -> None:
    with urllib.request.urlopen(URL + name, timeout=_TIMEOUT) as answer:  # noqa: S310 (HTTPS: it is in the constant)
        packed: bytes = answer.read()
    if hashlib.md5(packed, usedforsecurity=False).hexdigest() != md5:
        raise ValueError(f"{URL}{name} is not the published file (its MD5 differs)")
    cache.publish(home / name, lambda file: file.write(packed))
