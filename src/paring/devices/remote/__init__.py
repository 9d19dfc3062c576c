"""The runner that is copied to a device: one file, which needs Python there, numpy and a runtime's wheel."""

import base64
import io
import json
from importlib.resources import files
from zipfile import ZipFile, ZipInfo

OLDEST = (3, 10)  # version of Python that the runner takes
LACKING = f"install Python {'.'.join(map(str, OLDEST))} or newer there (apt install python3), or name one with --python"

_OWN = (
    "core/processor.py",
    "core/timing.py",
    *(f"devices/remote/{name}.py" for name in ("runtimes", "server", "worker")),
)
_EMPTY = ("__init__.py", "core/__init__.py", "devices/__init__.py", "devices/remote/__init__.py")
_MAIN = """\
import sys
from pathlib import Path
from paring.devices.remote.worker import main
main(Path(sys.argv[1]), Path(sys.argv[2]))
"""

# Python reads its program from its standard input, a line of JSON, so that no shell takes part in quoting it.
COMMAND = "import json,sys;exec(json.loads(sys.stdin.readline()))"
_START = f"""
import base64, json, os, shutil, sys, tempfile
from os.path import isdir, join, exists
hello = json.loads(sys.stdin.readline())
def error(problem, remedy):
    print(json.dumps({{"reply": "error", "problem": problem, "remedy": remedy}}))
    sys.exit(0)
if sys.version_info < {OLDEST}:
    error("has Python " + sys.version.split()[0], "{LACKING}")
folder = ""
try:
    folder = hello["folder"] if isdir(hello["folder"]) else tempfile.mkdtemp(prefix="paring-")
    runner = join(folder, "runner.pyz")
    if not exists(runner):
        with open(runner, "wb") as file:
            file.write(base64.b64decode(hello["runner"]))
except OSError as problem:
    if folder:
        shutil.rmtree(folder, ignore_errors=True)
    place = tempfile.gettempdir()
    error(str(problem.strerror).lower(), "free space in " + place + " on the device, or set TMPDIR there")
sys.path.insert(0, runner)
from pathlib import Path
from paring.devices.remote.server import serve
serve(Path(folder), hello["launch"] or [sys.executable], hello["grace"])
"""


def package() -> bytes:
    """The runner: a zip file that Python runs, the same bytes each time."""
    content = io.BytesIO()
    with ZipFile(content, "w") as file:
        for name in _EMPTY:
            file.writestr(ZipInfo(f"paring/{name}"), "")
        for name in _OWN:
            file.writestr(ZipInfo(f"paring/{name}"), files("paring").joinpath(name).read_bytes())
        file.writestr(ZipInfo("__main__.py"), _MAIN)
    return content.getvalue()


def greeting(folder: str, launch: list[str], grace: float) -> bytes:
    """What `COMMAND` is given to begin with.

    Args:
        folder: that an earlier runner left, to go on in; a fresh one is made where it is empty or gone.
        launch: command that starts Python on the device; empty for the Python that reads this.
        grace: seconds that the runner waits for a lost connection.
    """
    hello = {"folder": folder, "launch": launch, "grace": grace, "runner": base64.b64encode(package()).decode()}
    return f"{json.dumps(_START)}\n{json.dumps(hello)}\n".encode()
