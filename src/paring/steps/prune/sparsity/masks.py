"""Masks by size, and the invariant of sparsity: zeros that later steps and exported files keep."""

from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from math import ceil
from typing import Any, Literal

import torch
from torch import Tensor, nn

from paring.core.errors import ParingError
from paring.core.model import Event, Invariant, Model
from paring.core.quiet import quiet
from paring.steps.prune.sparsity.tensors import layer_of
from paring.train.zeros import SPARSITY

_ROUND = 1e-9  # shares are doubles: 0.7 · 10 is a little less than 7


def largest(sizes: Tensor, count: int) -> Tensor:
    """Where the `count` largest of `sizes` are (bool, the same shape); of equal ones the first."""
    flat = sizes.detach().flatten()
    if count <= 0 or count >= flat.numel():
        return torch.full_like(sizes, count > 0, dtype=torch.bool)
    threshold = flat.kthvalue(flat.numel() - count + 1).values
    found = flat > threshold
    equal = (flat == threshold).nonzero().flatten()
    found[equal[: count - int(found.sum())]] = True
    return found.reshape(sizes.shape)


def zeros_of(share: float, total: int) -> int:
    """How many of `total` weights a share is, to the nearest."""
    return round(share * total + _ROUND)


def by_size(sizes: Sequence[Tensor], share: float, scope: Literal["layer", "global"]) -> list[Tensor]:
    """For each tensor where its weights stay: the largest of it, or of all tensors together.

    Args:
        sizes: of the weights, such as |w|.
        share: of zeros, in [0, 1).
        scope: `layer`: the same share of each tensor; `global`: one threshold for all.
    """
    if scope == "layer":
        return [largest(one, one.numel() - zeros_of(share, one.numel())) for one in sizes]
    together = torch.cat([one.detach().flatten() for one in sizes])
    kept = largest(together, together.numel() - zeros_of(share, together.numel()))
    parts = torch.split(kept, [one.numel() for one in sizes])
    return [part.reshape(one.shape) for part, one in zip(parts, sizes, strict=True)]


def refuse_empty(masks: Mapping[str, Tensor], where: str, remedy: str) -> None:
    """Raises ParingError if a tensor is left without any weight."""
    # one answer of a GPU, not one for each tensor
    left = torch.stack([mask.any() for mask in masks.values()]).tolist() if masks else []
    empty = [layer_of(name) for name, some in zip(masks, left, strict=True) if not some]
    if empty:
        raise ParingError(f"no weight of {', '.join(empty[:3])} would be left", where, remedy)


def refuse_infinite(module: nn.Module, names: Iterable[str], where: str) -> None:
    """Raises ParingError if a weight is NaN or infinite: it has no size to go by."""
    for name in names:
        if not bool(torch.isfinite(module.get_parameter(name)).all()):
            raise ParingError(f"{name} holds NaN or infinite values", where, "load weights that did not diverge")


def masked(module: nn.Module, masks: Mapping[str, Tensor]) -> nn.Module:
    """A copy with zeros where the masks say so."""
    with quiet():
        found = deepcopy(module)
    put(found, masks)
    return found


def put(module: nn.Module, masks: Mapping[str, Tensor]) -> None:
    """Sets weights to 0 in place: +0, which a file packs better than −0."""
    with torch.no_grad():
        for name, mask in masks.items():
            weight = module.get_parameter(name)
            weight.masked_fill_(mask.to(weight.device) == 0, 0.0)


def invariants(masks: Mapping[str, Tensor], more: Mapping[str, Any] | None = None) -> tuple[Invariant, ...]:
    """What a later step is to keep of each tensor: the share of zeros, and what else is true of them."""
    return tuple(
        Invariant(SPARSITY, name, {"zeros": 1 - int(mask.count_nonzero()) / mask.numel(), **(more or {})})
        for name, mask in masks.items()
    )


def result(
    model: Model, module: nn.Module, masks: Mapping[str, Tensor], event: Event, more: Mapping[str, Any] | None = None
) -> Model:
    """The model that a step on sparsity returns."""
    return model.changed(module.eval(), event, invariants=invariants(masks, more))


def told(masks: Mapping[str, Tensor]) -> str:
    """The zeros in words."""
    total = sum(mask.numel() for mask in masks.values())
    zeros = total - sum(int(mask.count_nonzero()) for mask in masks.values())
    return f"{100 * zeros / total:.1f} % of {total:,} weights in {len(masks)} layers are 0"


def zeros_hold(model: Model, invariant: Invariant) -> str | None:
    """None if the tensor still has its zeros, else what became of them.

    A quantized graph holds the numbers that are to be rounded, symmetrically, so that what is 0 stays 0.
    """
    tensor = model.module.state_dict().get(invariant.layer)
    if tensor is None:
        return "is gone"
    zero, wanted = tensor == 0, invariant.value
    if int(zero.sum()) < ceil(wanted["zeros"] * zero.numel() - _ROUND):
        found = 100 * float(zero.float().mean())
        return f"had {100 * wanted['zeros']:.1f} % of zeros, and has {found:.1f} % now"
    if "m" in wanted:
        groups = zero.movedim(wanted["axis"], -1).reshape(-1, wanted["m"])
        if int(groups.sum(1).min()) < wanted["m"] - wanted["n"]:
            return f"is no longer {wanted['n']}:{wanted['m']}"
    return None
