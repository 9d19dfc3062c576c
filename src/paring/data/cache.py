"""The cache folder: unpacked data, and what was found out about files that have not changed since."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from paring.core import atomic
from paring.core.errors import ParingError
from paring.core.model import Json

CHUNK = 1 << 20
_SETTLED = 2.0  # seconds; a file written just now could change again without a new time stamp


def folder() -> Path:
    """Where paring keeps data between runs: `$XDG_CACHE_HOME/paring`, else `~/.cache/paring`."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "paring"


def publish(path: Path, write: Callable[[BinaryIO], object]) -> Path:
    """Writes a file of the cache; readers see all of it or nothing.

    Args:
        path: where it shall be.
        write: is given the open file.

    Raises:
        ParingError: the cache folder cannot be written to.
    """
    try:
        with atomic.write(path) as draft, draft.open("wb") as file:
            write(file)
    except ParingError as error:
        remedy = "free space there, or set XDG_CACHE_HOME to another folder"
        raise ParingError(error.problem, error.where, remedy) from error
    return path


def stamp(paths: Iterable[Path]) -> tuple[str, bool]:
    """A digest of names, sizes and times of files, and whether they are old enough for it to be trusted."""
    digest, newest = hashlib.sha256(), 0
    for path in paths:
        status = path.stat()
        digest.update(f"{path.absolute()}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
        newest = max(newest, status.st_mtime_ns)
    return digest.hexdigest(), time.time() - newest / 1e9 > _SETTLED


def remember(key: str, compute: Callable[[], Json], *, keep: bool = True) -> Json:
    """What `compute` gave when it was first asked for `key`.

    Args:
        key: a digest of all that the answer depends on.
        compute: gives JSON values; called when nothing is kept under the key.
        keep: False always computes and keeps nothing.
    """
    path = folder() / "known" / f"{key}.json"
    if keep:
        with suppress(OSError, ValueError):  # none yet, or damaged
            return json.loads(path.read_text())
    value = compute()
    if keep:
        with suppress(ParingError):  # a cache that cannot be written costs time, no more
            publish(path, lambda file: file.write(json.dumps(value).encode()))
    return value


def content(path: Path) -> str:
    """SHA-256 of a file's content; computed once for a file that stays as it is."""
    key, settled = stamp([path])
    return str(remember(key, lambda: sha256(path), keep=settled))


def sha256(path: Path) -> str:
    """SHA-256 of a file's content, read now."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def combined(digests: Iterable[str]) -> str:
    """One digest of several, in their order."""
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()
