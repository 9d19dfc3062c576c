"""Rows of a table in a file, one after the other, so that memory does not grow with the table."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from paring.core.errors import MissingExtra, ParingError, UnknownName

Row = tuple[Any, ...]
_CHUNK = 4096  # rows of a Parquet file that are read at once
_LONGEST_CELL = 1 << 24  # characters


def columns(path: Path) -> tuple[str, ...]:
    """The names of a table's columns.

    Raises:
        ParingError: there is no such file, it is of no known kind, or it holds nothing.
    """
    return _reader(path)[0](path)


def rows(path: Path, wanted: Sequence[str]) -> Iterator[Row]:
    """The cells of some columns, row by row; a cell without a value is None.

    Raises:
        UnknownName: there is no such column; the nearest is named.
        ParingError: a row cannot be read; its line is named.
    """
    head, body = _reader(path)
    names = head(path)
    for name in wanted:
        if name not in names:
            raise UnknownName.of("column", name, names, where=str(path))
    return body(path, wanted)


def _reader(path: Path) -> tuple[Callable[[Path], tuple[str, ...]], Callable[[Path, Sequence[str]], Iterator[Row]]]:
    if not path.is_file():
        raise ParingError("there is no such file", str(path), "write table:FILE.csv, .tsv, .jsonl or .parquet")
    if path.suffix not in _READERS:
        raise UnknownName.of("kind of table", path.suffix, _READERS, where=str(path))
    return _READERS[path.suffix]


def _separated(path: Path) -> Iterator[list[str]]:
    """The lines of a .csv (RFC 4180) or of a .tsv, in which a quotation mark is a character like any other."""
    plain = path.suffix == ".tsv"
    csv.field_size_limit(_LONGEST_CELL)
    line = 0
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            dialect: dict[str, Any] = {"delimiter": "\t", "quoting": csv.QUOTE_NONE} if plain else {"strict": True}
            reader = csv.reader(file, **dialect)
            for cells in reader:
                line = reader.line_num
                if cells:
                    yield cells
    except UnicodeDecodeError as error:
        raise _undecodable(path, line) from error
    except csv.Error as error:
        raise ParingError(f"cannot be read: {error}", f"{path}, line {line + 1}", "mend the quotation marks") from error


def _separated_columns(path: Path) -> tuple[str, ...]:
    first = next(_separated(path), None)
    if first is None:
        raise ParingError("is empty", str(path), "its first line names the columns, each further one is a sample")
    return tuple(first)


def _separated_rows(path: Path, wanted: Sequence[str]) -> Iterator[Row]:
    lines = _separated(path)
    names = next(lines)
    places = [names.index(name) for name in wanted]
    for number, cells in enumerate(lines, 1):
        if len(cells) != len(names):
            problem = f"row {number} has {len(cells)} cells, the table {len(names)} columns"
            raise ParingError(problem, str(path), "quote cells that hold the separator")
        yield tuple(cells[place] if cells[place].strip() else None for place in places)


def _objects(path: Path) -> Iterator[dict[str, Any]]:
    number = 0
    try:
        with path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    found = json.loads(line)
                    if not isinstance(found, dict):
                        raise ParingError("is no JSON object", f"{path}, line {number}", "write one object a line")
                    yield found
    except UnicodeDecodeError as error:
        raise _undecodable(path, number) from error
    except ValueError as error:
        raise ParingError(f"cannot be read: {error}", f"{path}, line {number}", "write one object a line") from error


def _object_columns(path: Path) -> tuple[str, ...]:
    first = next(_objects(path), None)
    if first is None:
        raise ParingError("is empty", str(path), "write one JSON object a line, each a sample")
    return tuple(first)


def _object_rows(path: Path, wanted: Sequence[str]) -> Iterator[Row]:
    for found in _objects(path):
        yield tuple(found.get(name) for name in wanted)


def _parquet(path: Path) -> Any:
    try:
        from pyarrow import parquet
    except ModuleNotFoundError as error:
        raise MissingExtra.of("pyarrow", "tables", str(path)) from error
    try:
        return parquet.ParquetFile(path, page_checksum_verification=True)  # where the file has checksums
    except (OSError, ValueError) as error:  # ArrowInvalid is a ValueError
        raise ParingError(f"is damaged or no Parquet file ({error})", str(path), "copy it again") from error


def _parquet_columns(path: Path) -> tuple[str, ...]:
    return tuple(_parquet(path).schema_arrow.names)


def _parquet_rows(path: Path, wanted: Sequence[str]) -> Iterator[Row]:
    try:
        for batch in _parquet(path).iter_batches(_CHUNK, columns=list(dict.fromkeys(wanted))):
            yield from zip(*(batch.column(name).to_pylist() for name in wanted), strict=True)
    except (OSError, ValueError) as error:
        raise ParingError(f"is damaged ({error})", str(path), "copy it again") from error


def _undecodable(path: Path, line: int) -> ParingError:
    return ParingError("holds bytes that are no UTF-8", f"{path}, after line {line}", "save it as UTF-8")


_READERS = {
    ".csv": (_separated_columns, _separated_rows),
    ".tsv": (_separated_columns, _separated_rows),
    ".jsonl": (_object_columns, _object_rows),
    ".parquet": (_parquet_columns, _parquet_rows),
}
