"""Factors in the place of layers, as data: an edit to replay, and invariants."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from torch import nn

from paring.core.model import Edit, Event, Invariant, Json, Model
from paring.steps.factorize.low_rank.factors import Layout, chain, widths
from paring.steps.shapes import CONSTANT_SHAPE, RANK, SHAPE, whole_in_files

EDIT = "factorize"


def put(model: Model, module: nn.Module, layouts: Mapping[str, Sequence[Layout]], event: Event) -> Model:
    """The model that a step on low rank returns.

    Args:
        model: that the step was given.
        module: a copy of its module with chains of factors in the place of some layers.
        layouts: layer -> its factors.
        event: what was done.
    """
    gone = {f"{name}.{tensor}" for name in layouts for tensor in ("weight", "bias")}
    kept = tuple(one for one in model.invariants if one.layer not in gone)
    stored = whole_in_files(replace(model, module=module.eval()))
    found = []
    for name, parts in layouts.items():
        found.append(Invariant(RANK, name, widths(parts)))
        for tensor, parameter in module.get_submodule(name).named_parameters():
            if parameter.ndim > 1:
                whole = f"{name}.{tensor}"
                kind = SHAPE if whole in stored else CONSTANT_SHAPE
                found.append(Invariant(kind, whole, list(parameter.shape)))
    data = {"layers": {name: [dict(one) for one in parts] for name, parts in layouts.items()}}
    return replace(model, invariants=kept).changed(
        module.eval(), event, edits=(Edit(EDIT, data),), invariants=tuple(found)
    )


def replay(model: Model, data: Mapping[str, Json]) -> nn.Module:
    """The module with the factors of the edit; the values of their tensors come afterwards."""
    for name, layouts in data["layers"].items():
        model.module.set_submodule(name, chain(layouts))
    return model.module


def rank_holds(model: Model, invariant: Invariant) -> str | None:
    """None if no factor is wider than it was made, else what became of it; narrower ones keep the rank."""
    tensors = model.module.state_dict()
    for name, (axis, most) in invariant.value.items():
        tensor = tensors.get(f"{invariant.layer}.{name}")
        if tensor is None:
            return "its factors are gone"
        if tensor.shape[axis] > most:
            return f"was of rank {most}, and is of rank {tensor.shape[axis]} now"
    return None
