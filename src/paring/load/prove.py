"""Proof that a rebuilt network answers as its original does."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch

from paring.core.errors import ParingError
from paring.core.model import TensorSpec
from paring.core.target import Array
from paring.load.blueprint import Network

TOLERANCE = 1e-4  # of the largest value, or of 1 where that is less
_REMEDY = "report it with the file's architecture; until then export the model from PyTorch"


def samples(inputs: Sequence[TensorSpec], seed: int = 0) -> list[Array]:
    """For each input two random samples and both ends of its range (-50 and 50 where it is not known)."""
    chance = np.random.default_rng(seed)
    found: list[Array] = []
    for spec in inputs:
        shape = spec.sized(1)[1:]
        if np.issubdtype(np.dtype(spec.dtype), np.floating):
            low, high = spec.range or (-50.0, 50.0)
            middle: Array = chance.uniform(low, high, (2, *shape)) if spec.range else chance.normal(size=(2, *shape))
        else:
            low, high = spec.range or (0, 1)
            middle = chance.integers(int(low), int(high) + 1, (2, *shape))
        ends = np.stack([np.full(shape, low), np.full(shape, high)])
        found.append(np.concatenate([middle, ends]).astype(spec.dtype))
    return found


def prove(
    network: Network,
    inputs: Sequence[Array],
    wanted: Sequence[Array],
    layers: Callable[[], Iterable[tuple[str, str, Array]]],
    where: str,
) -> float:
    """Compares the network's outputs with the original's, and gives the largest relative difference.

    Args:
        network: the rebuilt one, in eval mode.
        inputs: as the network takes them, batch first.
        wanted: the original's outputs for them, as the network lays them out.
        layers: called when the outputs differ: (name in the original, reference in the network, the original's value)
            of every value that both have, in the order in which they are computed.
        where: the file, for messages.

    Raises:
        ParingError: an output differs by more than `TOLERANCE`; the first layer that does is named.
    """
    tensors = [torch.from_numpy(array) for array in inputs]
    with torch.inference_mode():
        answer = network(*tensors)
    found = [tensor.numpy() for tensor in (answer if isinstance(answer, tuple) else (answer,))]
    differences = [difference(f, w) for f, w in zip(found, wanted, strict=True)]
    if all(one <= TOLERANCE for one in differences):  # NaN is not
        return max(differences)
    for name, reference, value in layers():
        with torch.inference_mode():
            (own,) = network.trace(tensors, [reference])
        apart = difference(own.numpy(), value)
        if not apart <= TOLERANCE:
            raise ParingError(f"rebuilt, the layer {name} answers otherwise (by {apart:.2g})", where, _REMEDY)
    raise ParingError(f"rebuilt, the model answers otherwise (by {max(differences):.2g})", where, _REMEDY)


def difference(found: Array, wanted: Array) -> float:
    """Largest difference, relative to the largest value wanted or to 1; infinite where shapes or NaNs differ."""
    if found.shape != wanted.shape or not np.array_equal(np.isfinite(found), np.isfinite(wanted)):
        return float("inf")
    finite = np.isfinite(wanted)
    if not finite.any():
        return 0.0
    found, wanted = found[finite].astype(np.float64), wanted[finite].astype(np.float64)
    return float(np.abs(found - wanted).max() / max(1.0, np.abs(wanted).max()))
