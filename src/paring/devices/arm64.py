"""A root folder of arm64 Linux with Python and the runtimes' aarch64 wheels, for an emulator. Needs no rights."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from zipfile import BadZipFile, ZipFile

from paring.core import atomic, debian
from paring.core.errors import ParingError
from paring.core.progress import Silent
from paring.core.step import Progress
from paring.data import cache

CORE = "cortex-a72"  # of a Raspberry Pi 4
_PYTHON = ("python3-minimal", "libpython3-stdlib", "libstdc++6")  # Debian's; the wheels need the last
_WHEELS = ("numpy", "ai-edge-litert", "onnxruntime")
_PLATFORMS = ("manylinux_2_28_aarch64", "manylinux_2_27_aarch64", "manylinux_2_17_aarch64", "manylinux2014_aarch64")
_TIMEOUT = 1800  # seconds, for the wheels

# What Linux tells of a Cortex-A72 (the numbers of implementer and part: arch/arm64/include/asm/cputype.h). Without it
# emulated programs see the processor of this machine, and LiteRT crashes.
_CPUINFO = """\
processor\t: 0
BogoMIPS\t: 108.00
Features\t: fp asimd evtstrm crc32 cpuid
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x0
CPU part\t: 0xd08
CPU revision\t: 3
"""


@dataclass(frozen=True, slots=True)
class Emulated:
    """An arm64 Python to start.

    Attributes:
        qemu: QEMU's user-mode emulator, linked statically.
        root: where arm64 programs find their files.
        python: the interpreter in it.
    """

    qemu: Path
    root: Path
    python: Path

    def command(self) -> list[str]:
        """What starts it."""
        return [str(self.qemu), "-cpu", CORE, "-L", str(self.root), str(self.python)]


def find() -> Emulated | None:
    """What `prepare` made, if it did."""
    return _made(_folder())


def prepare(progress: Progress | None = None) -> Emulated:
    """Makes the root folder, once: Debian's arm64 Python, numpy, LiteRT and ONNX Runtime in this machine's versions.

    Some 15 MB of packages and 55 MB of wheels; 63 MB more where QEMU is not installed. Killed and called again it goes
    on with what was downloaded.

    Raises:
        ParingError: there is no apt-get, a download failed, or the disk is full.
    """
    progress = progress or Silent()
    folder = _folder()
    found = _made(folder)
    if found is not None:
        return found
    downloads = folder.parent / "downloads"
    try:
        downloads.mkdir(parents=True, exist_ok=True)
        with atomic.directory(folder) as draft, progress.bar("emulated arm64", 4) as advance:
            _qemu(draft)
            advance(1, "QEMU")
            debian.extract(debian.download(_PYTHON, "arm64", downloads), draft / "root")
            advance(1, "Python")
            python = _python(draft)
            wheels = _wheels(python.name.removeprefix("python"), downloads / folder.name)
            advance(1, "wheels")
            for wheel in wheels:
                with ZipFile(wheel) as file:
                    file.extractall(draft / "root/usr/lib/python3/dist-packages")
            (draft / "root/proc").mkdir()
            (draft / "root/proc/cpuinfo").write_text(_CPUINFO)
            advance(1, "unpacked")
    except (subprocess.SubprocessError, BadZipFile, OSError, StopIteration) as error:
        said = getattr(error, "stderr", None) or str(error).encode()
        reason = said.decode(errors="replace").strip().splitlines()
        raise ParingError(
            f"could not be made: {reason[-1] if reason else type(error).__name__}",
            str(folder),
            "it needs apt-get with Debian's sources, a network or a mirror, and 500 MB; run it again, it goes on",
        ) from error
    shutil.rmtree(downloads, ignore_errors=True)
    made = _made(folder)
    if made is None:
        raise ParingError("is incomplete", str(folder), "remove it and run this again")
    return made


def _folder() -> Path:
    """Of these versions of the wheels."""
    name = sha256("\n".join([CORE, *_PYTHON, *_wanted()]).encode()).hexdigest()[:12]
    return cache.folder() / "emulated-arm64" / name


def _made(folder: Path) -> Emulated | None:
    qemu = folder / "qemu-aarch64-static"
    if not qemu.exists():
        return None
    return Emulated(qemu, folder / "root", _python(folder))


def _python(folder: Path) -> Path:
    """`python3.11`, or what Debian has."""
    return next(path for path in (folder / "root/usr/bin").glob("python3.*") if path.name[8:].isdigit())


def _qemu(draft: Path) -> None:
    """Puts QEMU there: a link to the installed one, or Debian's."""
    installed = shutil.which("qemu-aarch64-static")
    if installed:
        (draft / "qemu-aarch64-static").symlink_to(installed)
        return
    debian.unpack(["qemu-user-static"], draft / "qemu")
    (draft / "qemu/usr/bin/qemu-aarch64-static").rename(draft / "qemu-aarch64-static")
    shutil.rmtree(draft / "qemu")  # of thirty other processors


def _wanted() -> list[str]:
    """The wheels, in the versions that this machine has, so that answers can be compared."""
    wanted = []
    for name in _WHEELS:
        try:
            wanted.append(f"{name}=={version(name)}")
        except PackageNotFoundError:
            wanted.append(name)
    return wanted


def _wheels(python: str, folder: Path) -> list[Path]:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--dest", str(folder)]
    command += ["--python-version", python, "--only-binary=:all:"]
    for platform in _PLATFORMS:
        command += ["--platform", platform]
    subprocess.run([*command, *_wanted()], check=True, capture_output=True, timeout=_TIMEOUT)
    return sorted(folder.glob("*.whl"))
