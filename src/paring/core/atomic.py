"""Files and folders that appear complete or not at all, whatever kills the process."""

import errno
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from paring.core.errors import ParingError

# An error of a write to an open file carries no file name, so these are told by their number.
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FAULTS = _FULL | {errno.EIO, errno.EROFS}


@contextmanager
def write(path: Path) -> Iterator[Path]:
    """Gives a path to write to; it becomes `path` when the block ends, and is removed if the block raises.

    The temporary file lies beside `path` and ends in its name, so that writers see the suffix that they expect.
    Missing parent folders are made. Whoever reads `path` sees the old file or the new one, never a part.

    Raises:
        ParingError: the file system refuses: full, read-only, not permitted.
    """
    temporary = _beside(path, "tmp")
    with _explained(path):
        _prepare(path)
    try:
        with _explained(path, temporary):
            yield temporary
        with _explained(path):
            _sync(temporary)
            temporary.replace(path)
            _sync(path.parent)
    except BaseException:
        _remove(temporary)
        raise


@contextmanager
def directory(path: Path) -> Iterator[Path]:
    """Gives an empty folder to fill; it takes the place of `path` when the block ends, and is removed if it raises.

    A folder that was at `path` stays until the new one is complete. What killed runs left beside it is cleaned; an
    old folder that was on its way out when its run was killed comes back.

    Raises:
        ParingError: the file system refuses: full, read-only, not permitted, or `path` is a file.
    """
    temporary, old = _beside(path, "tmp"), _beside(path, "old")
    with _explained(path):
        _prepare(path)
        if path.exists() and not path.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        temporary.mkdir()
    try:
        with _explained(path, temporary):
            yield temporary
        with _explained(path):
            for found in temporary.rglob("*"):
                _sync(found)
            _sync(temporary)
            # A folder cannot be renamed onto one that is not empty, hence two renames; `_tidy` mends a kill between.
            if path.exists():
                path.rename(old)
            temporary.rename(path)
            _sync(path.parent)
    except BaseException:
        _remove(temporary)
        if old.exists() and not path.exists():
            old.rename(path)
        raise
    finally:
        if path.exists():
            _remove(old)


def _prepare(path: Path) -> None:
    """Makes the parent folder and cleans what dead processes left there."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)) from error
    _tidy(path)


def _beside(path: Path, kind: str) -> Path:
    """A name that tells its process, so that the leftovers of dead ones can be told from work under way."""
    return path.with_name(f".{kind}-{os.getpid()}-{secrets.token_hex(4)}-{path.name}")


def _tidy(path: Path) -> None:
    """Removes what dead processes left beside `path`; puts an old folder back if `path` is gone."""
    leftover = re.compile(rf"\.(tmp|old)-(\d+)-[0-9a-f]{{8}}-{re.escape(path.name)}")
    for found in list(path.parent.iterdir()):
        match = leftover.fullmatch(found.name)
        if match is None or psutil.pid_exists(int(match[2])):
            continue
        if match[1] == "old" and not path.exists():
            found.rename(path)
        else:
            _remove(found)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):  # the error on its way matters more than a leftover, which the next run cleans
            path.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    """Waits until a file's content, or a folder's list of names, is on the disk."""
    if path.is_symlink() or (path.is_dir() and os.name == "nt"):  # Windows opens no folders
        return
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _explained(path: Path, temporary: Path | None = None) -> Iterator[None]:
    """Turns what the file system refuses at `path` into a ParingError.

    Where `temporary` is given, the block is the caller's own and may fail at other files; such errors pass.
    """
    try:
        yield
    except OSError as error:
        at_path = temporary is None or str(error.filename).startswith(str(temporary))
        if not at_path and error.errno not in _FAULTS:
            raise
        reason = (os.strerror(error.errno) if error.errno else str(error)).lower()
        remedy = "free space there, or" if error.errno in _FULL else "make it writable, or"
        raise ParingError(reason, str(path), f"{remedy} choose another place with --out") from error
