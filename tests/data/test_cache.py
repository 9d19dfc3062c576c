import os

import pytest

from paring.core.errors import ParingError
from paring.data import cache


def age(path, seconds=60):
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns - int(seconds * 1e9)))


def test_the_folder_is_the_users_own(monkeypatch, tmp_path):
    assert cache.folder() == tmp_path / "cache" / "paring"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache.folder() == tmp_path / ".cache" / "paring"


def test_a_file_that_fails_half_way_leaves_nothing(tmp_path):
    def write(file):
        file.write(b"half")
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        cache.publish(tmp_path / "new" / "file", write)
    assert list((tmp_path / "new").iterdir()) == []


def test_a_folder_that_cannot_be_written_says_what_to_set(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ParingError, match="XDG_CACHE_HOME"):
        cache.publish(tmp_path / "file" / "new", lambda file: None)


def test_content_is_read_once_for_a_settled_file(tmp_path, monkeypatch):
    path = tmp_path / "data"
    path.write_bytes(b"one")
    age(path)
    first = cache.content(path)
    monkeypatch.setattr(cache, "sha256", lambda path: pytest.fail("read again"))
    assert cache.content(path) == first


def test_a_changed_file_is_read_again(tmp_path):
    path = tmp_path / "data"
    path.write_bytes(b"one")
    age(path)
    first = cache.content(path)
    path.write_bytes(b"two")
    age(path, 30)
    assert cache.content(path) != first


def test_a_file_written_just_now_is_not_trusted_to_its_time_stamp(tmp_path):
    path = tmp_path / "data"
    path.write_bytes(b"one")
    status, first = path.stat(), cache.content(path)
    path.write_bytes(b"two")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))  # within one tick of the file system's clock
    assert cache.content(path) != first


def test_damaged_and_unwritable_caches_only_cost_time(tmp_path, monkeypatch, cache_home):
    assert cache.remember("key", lambda: [1]) == [1]
    (cache_home / "known" / "key.json").write_text("{")
    assert cache.remember("key", lambda: [2]) == [2]
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert cache.remember("key", lambda: [3]) == [3]
