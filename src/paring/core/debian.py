"""Packages of Debian, unpacked without installing them, which needs no rights."""

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

_TIMEOUT = 600  # seconds, for a download


def unpack(packages: Sequence[str], folder: Path) -> None:
    """Downloads packages and unpacks them into a folder, which is made; it holds `usr` and so on then.

    Raises:
        OSError: there is no apt-get here.
        subprocess.SubprocessError: it failed.
    """
    apt = _tool("apt-get")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as draft:
        try:
            _run([apt, "download", *packages], draft)
        except subprocess.CalledProcessError:  # no package lists, as in a fresh container: fetch our own
            private = _private(Path(draft))
            _run([apt, *private, "update"], draft)
            _run([apt, *private, "download", *packages], draft)
        extract(sorted(Path(draft).glob("*.deb")), folder)


def download(packages: Sequence[str], architecture: str, folder: Path) -> list[Path]:
    """Downloads packages of another architecture and all that they depend on, whatever is installed here.

    Called again it goes on with what `folder` holds. Gives the files.

    Raises:
        OSError: there is no apt-get here.
        subprocess.SubprocessError: it failed.
    """
    apt = _tool("apt-get")
    private = _private(folder)
    (folder / "status").touch()  # of installed packages: none
    private += _options(
        f"APT::Architecture={architecture}", f"APT::Architectures={architecture}", f"Dir::State::Status={folder}/status"
    )
    _run([apt, *private, "update"], folder)
    _run([apt, *private, "install", "--yes", "--download-only", "--no-install-recommends", *packages], folder)
    return sorted((folder / "archives").glob("*.deb"))


def extract(files: Sequence[Path], folder: Path) -> None:
    """Unpacks package files into a folder, which is made; it holds `usr` and so on then.

    Raises:
        OSError: there is no dpkg here.
        subprocess.SubprocessError: a file is damaged, or the disk is full.
    """
    dpkg = _tool("dpkg")
    folder.mkdir(parents=True, exist_ok=True)
    for file in files:
        _run([dpkg, "-x", str(file.absolute()), "."], folder)


def _private(folder: Path) -> list[str]:
    """Options that keep apt's lists and files in a folder."""
    (folder / "lists" / "partial").mkdir(parents=True, exist_ok=True)
    (folder / "archives" / "partial").mkdir(parents=True, exist_ok=True)
    return _options(f"Dir::State::Lists={folder}/lists", f"Dir::Cache={folder}", "Debug::NoLocking=1")


def _options(*settings: str) -> list[str]:
    return [part for setting in settings for part in ("-o", setting)]


def _tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise OSError(f"no {name} here")
    return found


def _run(command: Sequence[str], folder: str | Path) -> None:
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=_TIMEOUT)
