"""Which groups a user's patterns choose."""

from collections.abc import Sequence
from dataclasses import replace

from torch import nn

from paring.core.model import Model
from paring.steps.prune.structure.carve import one_input_each
from paring.steps.prune.structure.groups import Structure
from paring.steps.select import Choosable, select


def chosen(model: Model, structure: Structure, only: Sequence[str], keep: Sequence[str], where: str) -> Structure:
    """The structure with those groups alone that may be cut.

    Args:
        model: whose layers.
        structure: its groups.
        only: patterns; a group may be cut if all layers that make its channels are chosen. Empty for all.
        keep: patterns; a group with such a layer stays.
        where: the step, for the error.

    Raises:
        UnknownName: a pattern matches no layer whose channels could be cut.
    """
    layers = list(dict.fromkeys(layer for group in structure.groups for layer in group.layers))
    there = [
        Choosable(layer, frozenset({_kind(model.module.get_submodule(layer)), *({"first"} if not position else ())}))
        for position, layer in enumerate(layers)
    ]
    inside = set(select(only, there, f"{where}: only")) if only else set(layers)
    outside = set(select(keep, there, f"{where}: keep"))
    groups = tuple(
        group for group in structure.groups if inside.issuperset(group.layers) and not outside & set(group.layers)
    )
    return replace(structure, groups=groups)


def _kind(layer: nn.Module) -> str:
    if isinstance(layer, nn.modules.conv._ConvNd):
        return "depthwise" if one_input_each(layer) else "conv"
    return "linear" if isinstance(layer, nn.Linear) else "recurrent"
