"""What a Keras file is, and whether it is sound: looked at before Keras sees it."""

from __future__ import annotations

import json
import stat
import zipfile
from pathlib import Path, PurePosixPath
from typing import Any

from paring.core.errors import ParingError
from paring.core.model import Json

RATIO = 100  # an archive may unpack to so many times its size: Keras stores weights as they are, at a ratio of one
SMALL = 64 << 20  # bytes; an archive that unpacks to less is never called a bomb
LARGEST_CONFIG = 256 << 20  # bytes
_CONFIG = "config.json"
_HDF5 = b"\x89HDF\r\n\x1a\n"
_AGAIN = "copy the file again, or save the model again: model.save('model.keras')"


def config(path: Path) -> Json:
    """The architecture that a `.keras` or `.h5` file, or a folder saved by Keras, holds.

    Raises:
        ParingError: nothing is there, it is of another kind, truncated, altered, a zip bomb, or has a member that
            climbs out of the archive.
    """
    if path.is_dir():
        return _of_folder(path)
    if not path.is_file():
        raise ParingError("there is no such file", f"keras:{path}", "check the path; name a .keras or .h5 file")
    with path.open("rb") as file:
        head = file.read(8)
    if head == _HDF5:
        _named(path, (".h5", ".hdf5"))
        return _of_hdf5(path)
    if head[:4] == b"PK\x03\x04":
        _named(path, (".keras",))
        return _of_zip(path)
    raise ParingError("is neither a .keras archive nor an HDF5 file, or its start is lost", f"keras:{path}", _AGAIN)


def _of_folder(path: Path) -> Json:
    if not (path / _CONFIG).is_file():
        if (path / "saved_model.pb").is_file():
            raise ParingError(
                "is a TensorFlow SavedModel, which only TensorFlow reads",
                f"keras:{path}",
                "save the model as a file where TensorFlow is: model.save('model.keras')",
            )
        raise ParingError(f"has no {_CONFIG}", f"keras:{path}", "name a folder that Keras saved, or a .keras file")
    return _json((path / _CONFIG).read_bytes(), path)


def _of_hdf5(path: Path) -> Json:
    import h5py

    try:
        with h5py.File(path, "r") as file:
            found = file.attrs.get("model_config")
            weights_only = "layer_names" in file.attrs or "layers" in file or "_layer_checkpoint" in file
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        raise ParingError(f"is damaged: {str(error).splitlines()[0]}", f"keras:{path}", _AGAIN) from error
    if found is None:
        what = "holds weights only" if weights_only else "holds no Keras model"
        raise ParingError(what, f"keras:{path}", "save the whole model: model.save('model.keras')")
    return _json(found if isinstance(found, bytes) else str(found).encode(), path)


def _of_zip(path: Path) -> Json:
    try:
        with zipfile.ZipFile(path) as archive:
            _sound(archive, path)
            if _CONFIG not in archive.namelist():
                raise ParingError(f"has no {_CONFIG}", f"keras:{path}", _AGAIN)
            broken = archive.testzip()  # Keras does not look at every checksum
            if broken is not None:
                raise ParingError(f"is damaged: the checksum of {broken} is wrong", f"keras:{path}", _AGAIN)
            return _json(archive.read(_CONFIG), path)
    except (zipfile.BadZipFile, OSError, EOFError, RuntimeError, NotImplementedError, ValueError) as error:
        raise ParingError(f"is damaged: {error or type(error).__name__}", f"keras:{path}", _AGAIN) from error


def _sound(archive: zipfile.ZipFile, path: Path) -> None:
    members, seen = archive.infolist(), set()
    for member in members:
        name = PurePosixPath(member.filename.replace("\\", "/"))
        if (
            name.is_absolute()
            or ".." in name.parts
            or ":" in member.filename
            or stat.S_ISLNK(member.external_attr >> 16)
        ):
            raise ParingError(
                f"its member {member.filename!r} leads out of the archive", f"keras:{path}", "do not trust this file"
            )
        if str(name) in seen:
            raise ParingError(f"holds {member.filename!r} twice", f"keras:{path}", "do not trust this file")
        seen.add(str(name))
    whole, stored = sum(member.file_size for member in members), path.stat().st_size
    largest = max((member.file_size for member in members if member.filename == _CONFIG), default=0)
    if whole > max(SMALL, RATIO * stored) or largest > LARGEST_CONFIG:
        raise ParingError(
            f"would unpack to {whole >> 20} MiB from {stored >> 10} KiB (a zip bomb; {RATIO} times is the limit)",
            f"keras:{path}",
            "do not trust this file",
        )


def _json(content: bytes, path: Path) -> Any:
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ParingError(f"its {_CONFIG} is not JSON: {error}", f"keras:{path}", _AGAIN) from error
    if not isinstance(found, dict) or "class_name" not in found or "config" not in found:
        raise ParingError(f"its {_CONFIG} describes no model", f"keras:{path}", _AGAIN)
    return found


def _named(path: Path, suffixes: tuple[str, ...]) -> None:
    if path.suffix not in suffixes:
        kind = "a Keras archive" if suffixes == (".keras",) else "an HDF5 file"
        raise ParingError(
            f"is {kind}, but its name does not end in {suffixes[0]}",
            f"keras:{path}",
            f"rename it to {path.stem}{suffixes[0]}",
        )
