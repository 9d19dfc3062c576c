"""An artifact finds its target by how its name ends."""

from pathlib import Path

import pytest

from paring.core.errors import ParingError
from paring.targets import TARGETS, is_artifact, of_file


@pytest.fixture(autouse=True)
def _another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TARGETS._entries, "untimed", "paring.testing.elsewhere:Untimed")


@pytest.mark.parametrize(("name", "target"), [("a.tflite", "litert"), ("a.untimed.tflite", "untimed")])
def test_the_longest_ending_counts(tmp_path: Path, name: str, target: str) -> None:
    (tmp_path / name).write_bytes(b"")
    assert of_file(tmp_path / name).name == target
    assert is_artifact(name)


def test_a_folder_is_an_artifact_too(tmp_path: Path) -> None:
    (tmp_path / "a.tflite").mkdir()
    assert of_file(tmp_path / "a.tflite").name == "litert"


def test_no_file_and_no_target_are_told(tmp_path: Path) -> None:
    with pytest.raises(ParingError, match="no such file"):
        of_file(tmp_path / "a.tflite")
    (tmp_path / "a.tflight").write_bytes(b"")
    with pytest.raises(ParingError, match=r"\.tflite"):
        of_file(tmp_path / "a.tflight")
    assert not is_artifact("a.tflight")
