"""An exported artifact: one file, or a folder of files where the runtime wants one."""

import hashlib
import zlib
from pathlib import Path


def files(artifact: Path) -> list[Path]:
    """Its files, in an order that does not depend on the file system."""
    if artifact.is_dir():
        return sorted(found for found in artifact.rglob("*") if found.is_file())
    return [artifact]


def size(artifact: Path) -> int:
    """Bytes of all its files."""
    return sum(file.stat().st_size for file in files(artifact))


def zipped(artifact: Path) -> int:
    """Bytes of all its files, each compressed by zlib at level 9."""
    return sum(len(zlib.compress(file.read_bytes(), 9)) for file in files(artifact))


def digest(artifact: Path) -> str:
    """SHA-256 over its files; of a folder also over their names."""
    if not artifact.is_dir():
        return hashlib.sha256(artifact.read_bytes()).hexdigest()
    found = hashlib.sha256()
    for file in files(artifact):
        found.update(f"{file.relative_to(artifact).as_posix()}\0{file.stat().st_size}\0".encode())
        found.update(file.read_bytes())
    return found.hexdigest()
