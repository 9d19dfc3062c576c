"""The label and the split of every row, as numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from paring.core.errors import ParingError, UnknownName
from paring.core.task import Split
from paring.data.splits import Indices

_SPLITS: dict[str, Split] = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
}
_FEW_SHOWN = 3


class Ledger:
    """Gathers labels, splits and faults, row by row.

    Args:
        where: the data, for messages.
        labels: their names in order; found and sorted (numbers by value) if left out.
    """

    def __init__(self, where: str, labels: Sequence[str] | None) -> None:
        self.where, self._fixed = where, None if labels is None else [str(label) for label in labels]
        self._codes: dict[str, int] = {label: code for code, label in enumerate(self._fixed or [])}
        self._targets: list[int] = []
        self._members: dict[Split, list[int]] = {}
        self._faults: list[str] = []
        self._count = 0

    def row(self, label: Any, split: Any, problem: str | None) -> None:
        """Enters one row; `problem` is what is wrong with the rest of it."""
        self._count += 1
        if problem is None and is_missing(label):
            problem = "has no label"
        if problem is not None:
            self._faults.append(f"row {self._count} {problem}")
        name = _said(label)
        if self._fixed is not None and name not in self._codes and not is_missing(label):
            raise UnknownName.of("label", name, self._codes, where=f"{self.where}, row {self._count}")
        self._targets.append(self._codes.setdefault(name, len(self._codes)))
        if split is not None:
            key = str(split).strip().lower()
            if key not in _SPLITS:
                raise UnknownName.of("split", key, _SPLITS, where=f"{self.where}, row {self._count}")
            self._members.setdefault(_SPLITS[key], []).append(self._count - 1)
        elif self._members:
            self._faults.append(f"row {self._count} has no split")

    def close(self) -> tuple[tuple[str, ...], Indices, dict[Split, Indices]]:
        """Labels, the target of every row, the rows of each official split.

        Raises:
            ParingError: rows with faults, all told at once; no rows; fewer than two labels; no training split.
        """
        if self._faults:
            shown = "; ".join(self._faults[:_FEW_SHOWN])
            rest = f"; and {len(self._faults) - _FEW_SHOWN} more" if len(self._faults) > _FEW_SHOWN else ""
            raise ParingError(f"{shown}{rest}", self.where, "fill these cells, or remove the rows")
        if not self._count:
            raise ParingError("holds no rows", self.where, "each row is a sample")
        if len(self._codes) < 2:
            raise ParingError(f"has one label only, {next(iter(self._codes))!r}", self.where, "give it two or more")
        names = self._fixed or _ordered(list(self._codes))
        place = np.array([names.index(name) for name in self._codes], np.int64)
        targets = place[np.asarray(self._targets, np.int64)]
        given = {split: np.asarray(members, np.int64) for split, members in self._members.items()}
        if given and "train" not in given:
            raise ParingError("has no row of the split 'train'", self.where, "mark some, or write split=''")
        return tuple(names), targets, given or {"train": np.arange(self._count)}


def is_missing(cell: Any) -> bool:
    """Whether a cell holds nothing: None, NaN, or blanks."""
    return (
        cell is None or (isinstance(cell, float) and math.isnan(cell)) or (isinstance(cell, str) and not cell.strip())
    )


def _said(label: Any) -> str:
    """`1.0` and `1` are one label; so are `True` of Parquet and `True` of a CSV."""
    if isinstance(label, float) and label.is_integer():
        return str(int(label))
    return str(label).strip()


def _ordered(names: list[str]) -> list[str]:
    try:
        return sorted(names, key=float)
    except ValueError:
        return sorted(names)
