"""Files and folders appear complete or not at all."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from paring.core import atomic
from paring.core.errors import ParingError


def names(folder: Path) -> list[str]:
    return sorted(found.name for found in folder.iterdir())


def dead_process() -> int:
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    return done.pid


def test_file_appears_with_its_content_and_nothing_else(tmp_path):
    path = tmp_path / "made" / "report.json"
    with atomic.write(path) as temporary:
        assert temporary.parent == path.parent
        assert temporary.suffix == ".json"
        temporary.write_text("new")
        assert not path.exists()
    assert path.read_text() == "new"
    assert names(path.parent) == ["report.json"]


def test_old_file_is_seen_until_the_new_one_is_complete(tmp_path):
    path = tmp_path / "report.json"
    path.write_text("old")
    with atomic.write(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("kind", [atomic.write, atomic.directory])
def test_failure_keeps_the_old_and_leaves_nothing(tmp_path, error, kind):
    def fill(text: str, error: type[BaseException] | None = None) -> None:
        with kind(path) as temporary:
            (temporary if kind is atomic.write else temporary / "a").write_text(text)
            if error is not None:
                raise error

    path = tmp_path / "out"
    fill("old")
    with pytest.raises(error):
        fill("new", error)
    assert (path if kind is atomic.write else path / "a").read_text() == "old"
    assert names(tmp_path) == ["out"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_full_disk_during_the_write(tmp_path):
    def fill() -> None:
        with atomic.write(path) as temporary:
            temporary.write_bytes(b"part")
            Path("/dev/full").write_bytes(b"rest")

    path = tmp_path / "model.tflite"
    with pytest.raises(ParingError) as caught:
        fill()
    assert caught.value.problem == "no space left on device"
    assert caught.value.where == str(path)
    assert "free space" in caught.value.remedy
    assert "--out" in caught.value.remedy
    assert names(tmp_path) == []


def test_full_disk_during_the_sync(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    for kind, inside in ((atomic.write, ""), (atomic.directory, "a")):
        with pytest.raises(ParingError, match="no space left"), kind(tmp_path / "out") as temporary:
            (temporary / inside).write_text("new")
        assert names(tmp_path) == []


def test_file_size_limit_of_the_process(tmp_path):
    script = f"""
import resource
from pathlib import Path
from paring.core import atomic
from paring.core.errors import ParingError
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    with atomic.write(Path({str(tmp_path / "big.bin")!r})) as temporary:
        temporary.write_bytes(bytes(5000))
except ParingError as error:
    print(error.problem)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == os.strerror(errno.EFBIG).lower()
    assert names(tmp_path) == []


def test_errors_about_other_files_pass_unchanged(tmp_path):
    with pytest.raises(FileNotFoundError), atomic.write(tmp_path / "out"):
        (tmp_path / "elsewhere" / "input.csv").read_text()


def test_forgotten_write_is_an_error(tmp_path):
    with pytest.raises(ParingError, match="no such file"), atomic.write(tmp_path / "out"):
        pass


@pytest.mark.parametrize("kind", [atomic.write, atomic.directory])
def test_place_that_cannot_be_made(tmp_path, kind):
    (tmp_path / "file").write_text("")
    with pytest.raises(ParingError, match="not a directory"), kind(tmp_path / "file" / "out"):
        pass


def test_folder_replaces_the_old_one_whole(tmp_path):
    path = tmp_path / "bundle"
    with atomic.directory(path) as temporary:
        (temporary / "only-old").write_text("old")
    with atomic.directory(path) as temporary:
        assert names(temporary) == []
        (temporary / "sub").mkdir()
        (temporary / "sub" / "new").write_text("new")
        assert names(path) == ["only-old"]
    assert names(path) == ["sub"]
    assert (path / "sub" / "new").read_text() == "new"
    assert names(tmp_path) == ["bundle"]


def test_folder_where_a_file_lies(tmp_path):
    (tmp_path / "bundle").write_text("precious")
    with pytest.raises(ParingError, match="not a directory"), atomic.directory(tmp_path / "bundle"):
        pass
    assert (tmp_path / "bundle").read_text() == "precious"


def test_old_folder_comes_back_when_the_swap_fails(tmp_path, monkeypatch):
    path = tmp_path / "bundle"
    with atomic.directory(path) as temporary:
        (temporary / "a").write_text("old")
    rename = Path.rename

    def refuse(self, target):
        if self.name.startswith(".tmp-"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self))
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(ParingError, match="no space left"), atomic.directory(path) as temporary:
        (temporary / "a").write_text("new")
    assert (path / "a").read_text() == "old"
    assert names(tmp_path) == ["bundle"]


@pytest.mark.parametrize("kind", ["write", "directory"])
def test_leftovers_of_a_killed_process_are_cleaned(tmp_path, kind):
    inside = "temporary" if kind == "write" else "temporary / 'a'"
    script = f"""
import os, signal
from pathlib import Path
from paring.core import atomic
with atomic.{kind}(Path({str(tmp_path / "out")!r})) as temporary:
    ({inside}).write_text("part")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    killed = subprocess.run([sys.executable, "-c", script], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert len(names(tmp_path)) == 1
    assert names(tmp_path)[0].startswith(".tmp-")
    with getattr(atomic, kind)(tmp_path / "out") as temporary:
        (temporary if kind == "write" else temporary / "a").write_text("whole")
    assert names(tmp_path) == ["out"]


def test_old_folder_of_a_kill_between_the_two_renames_is_put_back(tmp_path):
    left = tmp_path / f".old-{dead_process()}-0123abcd-bundle"
    left.mkdir()
    (left / "a").write_text("old")
    with pytest.raises(ValueError, match="stop"), atomic.directory(tmp_path / "bundle"):
        raise ValueError("stop")
    assert (tmp_path / "bundle" / "a").read_text() == "old"


def test_work_of_living_processes_and_of_other_names_is_left_alone(tmp_path):
    living = f".tmp-{os.getpid()}-0123abcd-out"
    other = f".tmp-{dead_process()}-0123abcd-other-out"
    for name in (living, other):
        (tmp_path / name).write_text("")
    with atomic.write(tmp_path / "out") as temporary:
        temporary.write_text("new")
    assert names(tmp_path) == sorted([living, other, "out"])
