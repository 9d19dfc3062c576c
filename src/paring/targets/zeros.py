"""Whether a file holds the zeros and the shapes that a model promised."""

from collections import defaultdict
from collections.abc import Iterable
from math import prod

import numpy as np

from paring.core.errors import ParingError
from paring.core.model import Model
from paring.core.target import Array, FileTensor

_ROUND = 1e-9  # shares are doubles


def share(values: Array, zero_points: tuple[int, ...] = (), axis: int = 0) -> float:
    """The share of stored numbers that stand for exactly 0.

    Args:
        values: as stored, any shape.
        zero_points: of codes; none for floats, one, or one for each index of `axis`.
        axis: see there.
    """
    if not values.size:
        return 0.0
    if len(set(zero_points)) > 1:
        values = np.moveaxis(values, axis, -1) - np.array(zero_points)
        zero_points = (0,)
    return float((values == (zero_points[0] if zero_points else 0)).mean())


def require(model: Model, stored: Iterable[FileTensor], where: str) -> None:
    """Every tensor that a step cut has its size in the file, and every one that a step pruned its zeros too.

    A file has names and an order of axes of its own, so a tensor is known by how many values it holds. Of several that
    hold as many, those that promise most zeros are held against those that have most. A cut tensor that is looked up or
    added has an invariant of its own kind, which is not asked for: a file may hold it within another constant.

    Raises:
        ParingError: a tensor came out larger, or with fewer zeros.
    """
    tensors_now = model.module.state_dict(keep_vars=True)
    sizes = {name: tensor.numel() for name, tensor in tensors_now.items()}
    promised: dict[str, float] = {}
    for one in model.invariants:
        if one.kind == "shape" and len(one.value) > 1:
            promised.setdefault(one.layer, 0.0)
        elif one.kind == "sparsity":
            promised[one.layer] = max(promised.get(one.layer, 0.0), one.value["zeros"])
    wanted, found = defaultdict[int, list[tuple[float, str]]](list), defaultdict[int, list[float]](list)
    single = {id(tensors_now.get(name, name)): name for name in promised}  # a file holds what layers share once
    for name in single.values():
        wanted[sizes.get(name, 0)].append((promised[name], name))
    for tensor in stored:
        if len(tensor.shape) > 1:
            found[prod(tensor.shape)].append(tensor.zeros)
    lost = []
    for size, tensors in wanted.items():
        there = sorted(found[size], reverse=True)
        for place, (zeros, name) in enumerate(sorted(tensors, reverse=True)):
            if place >= len(there):
                lost.append(f"{name}: no tensor of {size} values is left for it")
            elif there[place] < zeros - _ROUND:
                lost.append(f"{name}: {100 * zeros:.1f} % of zeros promised, {100 * there[place]:.1f} % found")
    if lost:
        raise ParingError(
            f"{len(lost)} tensors came out without what earlier steps won ({'; '.join(lost[:3])})",
            where,
            "keep these layers as they are (keep), and report the model that shows it",
        )
