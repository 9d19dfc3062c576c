"""A table with texts and labels in a file: `table:FILE.csv`, `.tsv`, `.jsonl` or `.parquet`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field

from paring.core.errors import ParingError, UnknownName
from paring.core.task import Tokenization
from paring.data import cache, tokens
from paring.data.rows import Row, columns, rows
from paring.data.splits import divide
from paring.data.text import TextTask
from paring.data.variation import Variation

Length = Annotated[int, Field(ge=2)]
_SPLIT = "split"


def open_table(
    name: str,
    target: str,
    *,
    text: str | list[str] = "text",
    label: str = "label",
    split: str | None = None,
    labels: list[str] | None = None,
    tokenizer: str | None = None,
    length: Length | None = None,
    vary: Variation | None = None,
    tokenization: Tokenization | None = None,
) -> TextTask:
    """Texts with labels, one in a row.

    Args:
        name: of the task.
        target: the file; its first line names the columns.
        text: column of the texts, or two columns of texts that belong together.
        label: column of the labels, names or numbers.
        split: column that says `train`, `validation` (`val`, `dev`) or `test`; the column `split` where there is one.
            An empty name divides the table anew.
        labels: their order, where it is not the alphabet's (or that of the numbers).
        tokenizer: a `tokenizer.json`, or the folder that holds it; the model's own if left out.
        length: of a padded text in tokens; the model's if left out.
        vary: how `augment` changes a text; texts of two parts stay as they are.
        tokenization: what the model brings.

    Raises:
        ParingError: the file cannot be read, a column or a cell is missing, there is one label only, there is no
            tokenizer, or the length is more than the model takes.
    """
    path = Path(target).expanduser()
    known = columns(path)
    parts = [text] if isinstance(text, str) else text
    if not 1 <= len(parts) <= 2:
        raise ParingError(f"text={text!r} names {len(parts)} columns", name, "name one column, or two")
    marked = (_SPLIT if _SPLIT in known else "") if split is None else split
    wanted = [*parts, label, *([marked] if marked else [])]
    for column in wanted:
        if column not in known:
            raise UnknownName.of("column", column, known, where=str(path))
    content = cache.combined((cache.content(path), *wanted, marked))
    found = rows(path, wanted)
    return make(
        name, (row if marked else (*row, None) for row in found), len(parts), labels, content, str(path),
        tokenizer, length, vary, tokenization,
    )  # fmt: skip


def make(
    name: str,
    found: Iterator[Row],
    parts: int,
    labels: Sequence[str] | None,
    content: str,
    where: str,
    tokenizer: str | None,
    length: int | None,
    vary: Variation | None,
    tokenization: Tokenization | None,
) -> TextTask:
    """The task of rows (text, …, label, split)."""
    if vary and parts > 1:
        raise ParingError("texts of two parts belong together and are not varied", name, "leave vary out")
    known = tokenization or Tokenization()
    size = length or known.length
    if known.limit is not None and size > known.limit:
        raise ParingError(f"length={size}, the model takes {known.limit} tokens", name, f"length={known.limit} or less")
    vocabulary = known.tokenizer if tokenizer is None else _read(Path(tokenizer).expanduser())
    if vocabulary is None:
        raise ParingError(
            "texts need a tokenizer, and the model brings none", name, "write (tokenizer='FOLDER'), with tokenizer.json"
        )
    prepared = tokens.prepare(found, parts, labels, vocabulary, size, content, where)
    return TextTask(
        name=name,
        labels=prepared.labels,
        tokens=prepared.tokens,
        targets=prepared.targets,
        splits=divide(prepared.targets, prepared.given, prepared.labels, where),
        content=prepared.key,
        variation=(vary or Variation()) if parts == 1 else None,
    )


def _read(path: Path) -> str:
    file = path / "tokenizer.json" if path.is_dir() else path
    try:
        text = file.read_text(encoding="utf-8")
        json.loads(text)  # what is no JSON is told here, with the file's name
    except (OSError, ValueError) as error:
        raise ParingError(
            f"the tokenizer cannot be read ({error})", str(file), "name a tokenizer.json or its folder"
        ) from error
    return text
