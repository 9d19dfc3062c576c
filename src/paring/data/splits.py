"""Who is in which split: the same on every machine, whatever the run's seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from paring.core.errors import ParingError
from paring.core.task import Split

Indices = NDArray[np.int64]

CALIBRATION = 1024  # samples, at most: ranges of activations settle long before
_SEED = 2026
_FEW_SHOWN = 5


def shuffled(count: int, *seed: int) -> Indices:
    """The numbers below `count` in an order given by the seed.

    Sorted by the raw stream of PCG64, which NumPy promises never to change; it makes no such promise for
    `Generator.permutation`.
    """
    return np.argsort(np.random.PCG64(seed).random_raw(count), kind="stable").astype(np.int64, copy=False)


def divide(targets: Indices, given: Mapping[Split, Indices], labels: Sequence[str], where: str) -> dict[Split, Indices]:
    """The four splits. What was not given is taken out of train, class by class.

    With an official test split, a twelfth of train becomes validation (5,000 of 60,000). Without one, train is
    divided 70 : 10 : 20. Every split is in a mixed order, so that the first samples of it hold all classes, except
    for an official test, which keeps its own. Calibration is drawn from train.

    Args:
        targets: the class of every sample.
        given: the samples of each official split; `train` is always among them.
        labels: names of the classes.
        where: the data set, for messages.

    Raises:
        ParingError: a split is empty, or a class has too few samples to be in every split.
    """
    for split, members in given.items():
        if not len(members):
            raise ParingError(f"the {split} split is empty", where, "give it samples, or leave the split out")
    shares: dict[Split, float] = {} if "test" in given else {"test": 0.2}
    if "validation" not in given:
        shares["validation"] = 1 / 12 if "test" in given else 0.1

    splits = {**given, **_deal(targets, given["train"], shares, labels, where)}
    splits["calibration"] = _mixed(splits["train"], 1)[:CALIBRATION]
    # The deal leaves in train, first of all, the classes that came up early: so mix each split once more.
    return {
        split: members if split == "test" and "test" in given else _mixed(members, 2)
        for split, members in splits.items()
    }


def _mixed(members: Indices, use: int) -> Indices:
    return members[shuffled(len(members), _SEED, use)]


def _deal(
    targets: Indices, pool: Indices, shares: Mapping[Split, float], labels: Sequence[str], where: str
) -> dict[Split, Indices]:
    """Deals out the mixed pool: to each split its share of every class, one sample at least; the rest is train."""
    pool = _mixed(pool, 0)
    by_class = np.argsort(targets[pool], kind="stable")
    counts = np.bincount(targets[pool], minlength=len(labels))
    starts = np.cumsum(counts) - counts
    place = np.empty(len(pool), np.int64)  # of each sample within its class
    place[by_class] = np.arange(len(pool)) - np.repeat(starts, counts)

    taken = np.zeros(len(labels), np.int64)
    splits: dict[Split, Indices] = {}
    for split, share in shares.items():
        until = taken + np.maximum(1, np.floor(counts * share + 0.5).astype(np.int64))
        of_class = targets[pool]
        splits[split] = pool[(place >= taken[of_class]) & (place < until[of_class])]
        taken = until
    few = [f"{labels[index]!r} ({counts[index]})" for index in np.flatnonzero(counts <= taken).tolist()]
    if few:
        shown = ", ".join(few[:_FEW_SHOWN]) + (", …" if len(few) > _FEW_SHOWN else "")
        raise ParingError(
            f"{len(few)} of {len(labels)} classes have too few samples for train, validation and test: {shown}",
            where,
            f"give each class {len(shares) + 1} samples or more, or remove it",
        )
    splits["train"] = pool[place >= taken[targets[pool]]]
    return splits
