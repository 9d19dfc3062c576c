"""Packages of Debian and Ubuntu, unpacked without installing them, which needs no rights."""

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

_TIMEOUT = 300  # seconds, for a download


def unpack(packages: Sequence[str], folder: Path) -> None:
    """Downloads packages and unpacks them into a folder, which is made; it holds `usr` and so on then.

    Raises:
        OSError: there is no apt-get here.
        subprocess.SubprocessError: it failed.
    """
    apt, dpkg = shutil.which("apt-get"), shutil.which("dpkg")
    if not apt or not dpkg:
        raise OSError("no apt-get here")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as draft:

        def run(*command: str) -> None:
            subprocess.run(command, cwd=draft, check=True, capture_output=True, timeout=_TIMEOUT)

        try:
            run(apt, "download", *packages)
        except subprocess.CalledProcessError:  # no package lists, as in a fresh container: fetch our own
            Path(draft, "lists", "partial").mkdir(parents=True)
            private = (
                "-o",
                f"Dir::State::Lists={draft}/lists",
                "-o",
                f"Dir::Cache={draft}",
                "-o",
                "Debug::NoLocking=1",
            )
            run(apt, *private, "update")
            run(apt, *private, "download", *packages)
        for file in Path(draft).glob("*.deb"):
            run(dpkg, "-x", str(file), str(folder.absolute()))
