"""Texts as token ids: tokenized once, kept in the cache folder, read from there batch by batch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from paring.core import atomic
from paring.core.errors import MissingExtra, ParingError
from paring.core.task import Split
from paring.data import cache
from paring.data.labels import Ledger, is_missing
from paring.data.rows import Row
from paring.data.splits import Indices

_CHUNK = 2048  # texts that are tokenized together
_FORMAT = "tokens 2"


@dataclass(frozen=True, slots=True)
class Tokens:
    """The tokens of all texts, in one file.

    Attributes:
        ids: memory-mapped, all texts one after the other, without padding.
        ends: of each text in `ids`.
        firsts: tokens of each text that belong to its first part; the rest has type 1.
        length: of a padded text.
        pad: id of the padding token.
        left: whether padding stands before the text.
        vocabulary: number of tokens that the tokenizer knows.
        truncated: texts that were longer than `length` and were cut.
        edges: tokens that the tokenizer puts before and after every text.
    """

    ids: NDArray[Any]
    ends: NDArray[np.int64]
    firsts: NDArray[np.int32]
    length: int
    pad: int
    left: bool
    vocabulary: int
    truncated: int
    edges: tuple[int, int]

    def texts(self, indices: Indices) -> list[NDArray[Any]]:
        """The ids of some texts, as long as they are."""
        starts = np.where(indices > 0, self.ends[np.maximum(indices - 1, 0)], 0)
        return [self.ids[start:end] for start, end in zip(starts, self.ends[indices], strict=True)]

    def batch(self, indices: Indices, width: int | None = None) -> dict[str, Tensor]:
        """Ids, mask and types of some texts, int64, (text, width).

        Args:
            indices: which texts.
            width: of the batch; as wide as the longest needs, rounded up to a multiple of 8, if left out.
        """
        return self.padded(self.texts(indices), self.firsts[indices], width)

    def padded(
        self, texts: Sequence[NDArray[Any]], firsts: NDArray[np.int32] | None = None, width: int | None = None
    ) -> dict[str, Tensor]:
        """As `batch`, of given ids; all of a text is its first part if `firsts` is left out."""
        counts = np.asarray([len(text) for text in texts])
        width = width or min(self.length, -(-int(counts.max()) // 8) * 8)
        place = np.arange(width) - (width - counts[:, None] if self.left else 0)
        mask = (place >= 0) & (place < counts[:, None])
        ids = np.full(mask.shape, self.pad, np.int64)
        ids[mask] = np.concatenate(texts)
        types = mask & (place >= (counts if firsts is None else firsts)[:, None])
        found = {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}
        return {name: torch.from_numpy(array.astype(np.int64)) for name, array in found.items()}


@dataclass(frozen=True)
class Prepared:
    """A table of texts, ready for a task."""

    tokens: Tokens
    labels: tuple[str, ...]
    targets: Indices
    given: dict[Split, Indices]
    key: str


def prepare(
    rows: Iterator[Row], parts: int, labels: Sequence[str] | None, tokenizer: str, length: int, content: str, where: str
) -> Prepared:
    """Tokenizes a table, or takes what an earlier call kept.

    The tokenizer works on a few thousand texts at a time, with as many threads as there are cores.

    Args:
        rows: (text, …, label, split); split is None where there is none.
        parts: texts in a row, 1 or 2.
        labels: their names in order, if given.
        tokenizer: the text of a `tokenizer.json`.
        length: texts are cut to so many tokens.
        content: digest of the table and the columns.
        where: for messages.

    Raises:
        ParingError: see `paring.data.labels.Ledger`; the tokenizer cannot be read; a text is missing.
    """
    key = cache.combined((_FORMAT, content, hashlib.sha256(tokenizer.encode()).hexdigest(), str(length), str(labels)))
    folder = cache.folder() / "tokens" / key
    if not (folder / "facts.json").is_file():
        with atomic.directory(folder) as draft:
            _tokenize(rows, parts, labels, _tokenizer(tokenizer, length, where), length, draft, where)
    return _load(folder, key)


def _load(folder: Path, key: str) -> Prepared:
    try:
        facts = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
        arrays = {name: np.load(folder / f"{name}.npy", allow_pickle=False) for name in ("ends", "firsts", "targets")}
        ids = np.memmap(folder / "ids.bin", facts["dtype"], "r")
        given = {split: np.load(folder / f"{split}.npy", allow_pickle=False) for split in facts["given"]}
    except (OSError, ValueError, KeyError) as error:
        raise ParingError(f"is damaged ({error})", str(folder), "remove this folder of the cache") from error
    told = {name: facts[name] for name in ("length", "pad", "left", "vocabulary", "truncated")}
    tokens = Tokens(ids, arrays["ends"], arrays["firsts"], **told, edges=tuple(facts["edges"]))
    return Prepared(tokens, tuple(facts["labels"]), arrays["targets"], given, key)


def _tokenizer(text: str, length: int, where: str) -> tuple[Any, dict[str, Any]]:
    try:
        from tokenizers import Tokenizer
    except ModuleNotFoundError as error:
        raise MissingExtra.of("tokenizers", "tables", where) from error
    try:
        made = Tokenizer.from_str(text)
    except Exception as error:  # the library raises plain Exception
        raise ParingError(f"the tokenizer cannot be read: {error}", where, "give a tokenizer.json") from error
    padding = made.padding or {}
    made.no_padding()
    made.enable_truncation(length)
    return made, padding


def _tokenize(
    rows: Iterator[Row],
    parts: int,
    labels: Sequence[str] | None,
    made: tuple[Any, dict[str, Any]],
    length: int,
    folder: Path,
    where: str,
) -> None:
    tokenizer, padding = made
    vocabulary = tokenizer.get_vocab_size()
    dtype = np.uint16 if vocabulary <= 1 << 16 else np.uint32
    ledger = Ledger(where, labels)
    counts: list[int] = []
    firsts: list[int] = []
    truncated = 0
    with (folder / "ids.bin").open("wb") as file:
        while chunk := list(islice(rows, _CHUNK)):
            for *texts, label, split in chunk:
                ledger.row(label, split, "has no text" if any(map(is_missing, texts)) else None)
            said = [tuple("" if is_missing(text) else str(text) for text in row[:parts]) for row in chunk]
            found = tokenizer.encode_batch([one if parts > 1 else one[0] for one in said])
            for encoding in found:
                counts.append(len(encoding.ids))
                firsts.append(len(encoding.ids) - sum(encoding.type_ids))
                truncated += bool(encoding.overflowing)
            file.write(np.concatenate([np.asarray(one.ids, dtype) for one in found]).tobytes())
    names, targets, given = ledger.close()
    np.save(folder / "ends.npy", np.cumsum(np.asarray(counts, np.int64)))
    np.save(folder / "firsts.npy", np.asarray(firsts, np.int32))
    np.save(folder / "targets.npy", targets)
    for split, members in given.items():
        np.save(folder / f"{split}.npy", members)
    pad = padding.get("pad_id")
    if pad is None:
        pad = next((i for t in ("[PAD]", "<pad>") if (i := tokenizer.token_to_id(t)) is not None), 0)
    facts = {
        "dtype": np.dtype(dtype).str,
        "given": list(given),
        "labels": names,
        "length": length,
        "pad": pad,
        "left": padding.get("direction") == "left",
        "vocabulary": vocabulary,
        "truncated": truncated,
        "edges": _edges(tokenizer),
    }
    (folder / "facts.json").write_text(json.dumps(facts), encoding="utf-8")


def _edges(tokenizer: Any) -> tuple[int, int]:
    """Special tokens before and after the text, which a template puts there."""
    special = tokenizer.encode("a").special_tokens_mask
    before = special.index(0) if 0 in special else len(special)
    return before, sum(special) - before
