"""Texts of a data set of Hugging Face's `datasets`: `datasets:NAME` on the hub, `datasets:FOLDER` on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from paring.core.errors import MissingExtra, ParingError, UnknownName
from paring.core.quiet import quiet
from paring.core.task import Tokenization
from paring.data import cache
from paring.data.rows import Row
from paring.data.table import Length, make
from paring.data.text import TextTask
from paring.data.variation import Variation

_SAVED = ("dataset_dict.json", "dataset_info.json", "state.json")  # what `save_to_disk` leaves in a folder


def open_dataset(
    name: str,
    target: str,
    *,
    subset: str | None = None,
    revision: str | None = None,
    text: str | list[str] = "text",
    label: str = "label",
    labels: list[str] | None = None,
    tokenizer: str | None = None,
    length: Length | None = None,
    vary: Variation | None = None,
    tokenization: Tokenization | None = None,
) -> TextTask:
    """Texts with labels; splits called `train`, `validation` and `test` are taken as they are.

    Args:
        name: of the task.
        target: a name on the hub, a folder of data files, or one that `save_to_disk` wrote.
        subset: the data set's own name for a part of it, e.g. `sst2` of `glue`.
        revision: of the hub's repository, so that the same name gives the same samples.
        text: column of the texts, or two columns of texts that belong together.
        label: column of the labels: names, numbers, or a ClassLabel.
        labels: their order, where it is not the data set's own.
        tokenizer: a `tokenizer.json`, or the folder that holds it; the model's own if left out.
        length: of a padded text in tokens; the model's if left out.
        vary: how `augment` changes a text; texts of two parts stay as they are.
        tokenization: what the model brings.

    Raises:
        ParingError: the data set cannot be had, a column or a cell is missing, or there is no tokenizer. Samples
            without a label (-1, as hidden test splits have it) are refused too.
    """
    found = _splits(name, target, subset, revision)
    parts = [text] if isinstance(text, str) else text
    if not 1 <= len(parts) <= 2:
        raise ParingError(f"text={text!r} names {len(parts)} columns", name, "name one column, or two")
    first = next(iter(found.values()))
    for column in (*parts, label):
        if column not in first.column_names:
            raise UnknownName.of("column", column, first.column_names, where=name)
    names = getattr(first.features[label], "names", None)
    content = cache.combined(
        (target, str(subset), *parts, label, *(f"{split} {one._fingerprint}" for split, one in found.items()))
    )
    return make(
        name, _rows(found, parts, label, names), len(parts), labels or names, content, name, tokenizer, length,
        vary, tokenization,
    )  # fmt: skip


def _splits(name: str, target: str, subset: str | None, revision: str | None) -> dict[str, Any]:
    """Split -> data set; those of other names are left out where there are some of known ones."""
    try:
        with quiet():  # it shows bars of its own
            from datasets import DatasetDict, load_dataset, load_from_disk
    except ModuleNotFoundError as error:
        raise MissingExtra.of("datasets", "datasets", name) from error
    folder = Path(target).expanduser()
    try:
        with quiet():
            if any((folder / file).is_file() for file in _SAVED):
                found = load_from_disk(str(folder))
            else:
                found = load_dataset(str(folder) if folder.is_dir() else target, subset, revision=revision)
    except Exception as error:  # no network, no such name, a file of no known kind: it raises many kinds
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ParingError(
            f"cannot be had: {reason}",
            name,
            "look at the name and at the network; a folder works too (save_to_disk, or its data files)",
        ) from error
    splits: dict[str, Any] = dict(found) if isinstance(found, DatasetDict) else {"train": found}
    known = {split: one for split, one in splits.items() if split in {"train", "validation", "test"}}
    if "train" not in known:
        raise ParingError(f"has no split 'train', but {', '.join(splits)}", name, "choose another subset")
    return known


def _rows(found: dict[str, Any], parts: list[str], label: str, names: list[str] | None) -> Iterator[Row]:
    marked = len(found) > 1
    for split, one in found.items():
        for sample in one.select_columns([*dict.fromkeys([*parts, label])]):
            value = sample[label]
            if names is not None and isinstance(value, int):
                value = names[value] if value >= 0 else None  # -1 stands for none
            yield (*(sample[part] for part in parts), value, split if marked else None)
