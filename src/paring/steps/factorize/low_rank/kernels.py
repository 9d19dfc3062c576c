"""What the methods for kernels have in common."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from paring.core.errors import MissingExtra
from paring.steps.factorize.low_rank.factors import Convolution


def refusal(layer: nn.Module) -> str:
    """Why a layer has no kernel to take apart; empty if it has."""
    if not isinstance(layer, Convolution):
        return "it has no kernel to take apart: factorize.svd does for it"
    if all(size == 1 for size in layer.kernel_size):
        return "its kernel is a single place: factorize.svd does for it"
    return ""


def decomposition(where: str) -> Any:
    """TensorLy's decompositions. Raises MissingExtra where it is not installed."""
    try:
        import tensorly.decomposition
    except ImportError as error:
        raise MissingExtra.of("tensorly", "factorize", where) from error
    return tensorly.decomposition


@contextmanager
def unwarned() -> Iterator[None]:
    """TensorLy warns of what is judged by its results here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def bias_of(layer: nn.Module) -> Tensor | None:
    """The values of its bias; None if it has none."""
    bias = getattr(layer, "bias", None)
    return bias.detach() if isinstance(bias, Tensor) else None
