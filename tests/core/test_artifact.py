"""A folder counts as all that lies in it, whatever the file system's order."""

import zlib
from pathlib import Path

from paring.core import artifact


def folder(path: Path, names: list[str]) -> Path:
    for name in names:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(name.encode() * 9)
    return path


def test_a_folder_is_the_sum_of_its_files(tmp_path: Path) -> None:
    found = folder(tmp_path / "m.mlpackage", ["Data/weights.bin", "Manifest.json"])
    files = [found / "Data" / "weights.bin", found / "Manifest.json"]
    assert artifact.files(found) == sorted(files)
    assert artifact.size(found) == sum(file.stat().st_size for file in files)
    assert artifact.zipped(found) == sum(len(zlib.compress(file.read_bytes(), 9)) for file in files)


def test_a_file_is_itself(tmp_path: Path) -> None:
    file = tmp_path / "m.tflite"
    file.write_bytes(b"1234")
    assert artifact.files(file) == [file]
    assert artifact.size(file) == 4


def test_the_digest_tells_contents_and_names_apart(tmp_path: Path) -> None:
    same = [artifact.digest(folder(tmp_path / name, order)) for name, order in (("a", ["x", "y"]), ("b", ["y", "x"]))]
    assert same[0] == same[1]
    other = folder(tmp_path / "c", ["x", "z"])
    (other / "z").write_bytes(b"y" * 9)  # the content of y under another name
    assert artifact.digest(other) != same[0]
    (other / "z").rename(other / "y")
    assert artifact.digest(other) == same[0]
