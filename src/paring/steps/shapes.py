"""Smaller shapes as data: what a step cut, so that a saved model is rebuilt from its source, and checked ever after."""

from collections.abc import Container, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from paring.core.errors import ParingError
from paring.core.model import Edit, Event, Invariant, Json, Model

if TYPE_CHECKING:
    from torch import Tensor, nn

EDIT = "reshape"
# kinds of the invariants: the tensor's name, and its shape as a list
SHAPE = "shape"  # of what a layer multiplies with: a file holds it so
CONSTANT_SHAPE = "constant_shape"  # of what is looked up or added: a file may hold it as part of another constant
RANK = "rank"  # of factors: the layer, and name of a tensor in it -> [axis, the most that it may have there]


def cut(model: Model, module: "nn.Module", event: Event) -> Model:
    """The model that a structural step returns.

    Args:
        model: that the step was given.
        module: a changed copy of its module: the same modules with smaller tensors and other numbers as attributes
            (`out_channels`, `num_heads`); some modules gone from an `nn.Sequential` or `nn.ModuleList`, the others
            keeping their names; some now an `nn.Identity`.
        event: what was done.

    Raises:
        ParingError: the change cannot be told as data, such as a new kind of layer.
    """
    data = difference(model.module, module, event.step)
    shapes = {name: shape for name, shape in data["shapes"].items() if len(shape) > 1}
    there = module.state_dict()
    kept = tuple(one for one in model.invariants if not _void(one, shapes, there))
    multiplied = whole_in_files(replace(model, module=module.eval()))
    return replace(model, invariants=kept).changed(
        module.eval(),
        event,
        edits=(Edit(EDIT, data),),
        invariants=tuple(
            Invariant(SHAPE if name in multiplied else CONSTANT_SHAPE, name, shape) for name, shape in shapes.items()
        ),
    )


def whole_in_files(model: Model) -> set[str]:
    """Tensors of which a file holds each value, as something is multiplied with them; of tied ones, every name."""
    from paring.steps.prune.sparsity.tensors import weights

    named = dict(model.module.named_parameters(remove_duplicate=False))
    try:
        found = {one.name for one in weights(model) if one.kind and not one.reason}
    except ParingError:  # it does not answer to the inputs that would tell
        return set(named)
    same = {id(named[name]) for name in found}
    return {name for name, tensor in named.items() if id(tensor) in same}


def _void(one: Invariant, cut_again: Container[str], there: Container[str]) -> bool:
    """Whether an invariant speaks of a tensor that was cut again, or is gone by intent."""
    if one.kind == RANK:
        return not any(f"{one.layer}.{tensor}" in there for tensor in one.value)
    return one.kind in (SHAPE, CONSTANT_SHAPE) and (one.layer in cut_again or one.layer not in there)


def difference(before: "nn.Module", after: "nn.Module", where: str) -> dict[str, Json]:
    """What makes the structure of `after` out of that of `before`.

    Returns:
        `removed` and `identity`: names of modules; `attributes`: name of a module -> attribute -> value; `shapes`: name
        of a parameter or buffer -> shape.

    Raises:
        ParingError: it cannot be told so.
    """
    from torch import nn

    old, new = dict(before.named_modules(remove_duplicate=False)), dict(after.named_modules(remove_duplicate=False))
    if added := sorted(set(new) - set(old)):
        raise _untold(f"it adds {added[0]}", where)
    identity = [n for n, one in new.items() if isinstance(one, nn.Identity) and not isinstance(old[n], nn.Identity)]
    gone = [name for name in old if name not in new and name.rpartition(".")[0] in new]
    removed = [name for name in gone if name.rpartition(".")[0] not in identity]
    attributes: dict[str, dict[str, Json]] = {}
    for name, module in new.items():
        if name not in identity:
            if type(module) is not type(old[name]):
                raise _untold(f"{name} becomes a {type(module).__name__}", where)
            if changed := _attributes(old[name], module):
                attributes[name] = changed
    saved, tensors = after.state_dict(), _tensors(before)
    shapes: dict[str, list[int]] = {}
    for name, tensor in _tensors(after).items():
        if name not in tensors:
            raise _untold(f"it adds {name}", where)
        if tensor.shape != tensors[name].shape:
            if name not in saved:
                raise _untold(f"{name}, which is not saved with the weights, becomes smaller", where)
            shapes[name] = list(tensor.shape)
    return {"removed": removed, "identity": identity, "attributes": attributes, "shapes": shapes}


def replay(model: Model, data: Mapping[str, Json]) -> "nn.Module":
    """The module with the shapes of the edit; the values of its tensors come afterwards."""
    import torch
    from torch import nn

    module = model.module
    for name in data["removed"]:
        parent, _, last = name.rpartition(".")
        del module.get_submodule(parent)._modules[last]
    for name in data["identity"]:
        module.set_submodule(name, nn.Identity())
    for name, changed in data["attributes"].items():
        part = module.get_submodule(name)
        for attribute, value in changed.items():
            is_tuple = isinstance(vars(part).get(attribute), tuple)
            setattr(part, attribute, tuple(value) if is_tuple else value)
    made: dict[int, Tensor] = {}  # tensors that several modules share stay shared
    for name, shape in data["shapes"].items():
        owner, _, last = name.rpartition(".")
        part = module.get_submodule(owner)
        old = getattr(part, last)
        if id(old) not in made:
            new = torch.zeros(shape, dtype=old.dtype)
            made[id(old)] = nn.Parameter(new, old.requires_grad) if isinstance(old, nn.Parameter) else new
        setattr(part, last, made[id(old)])
    return module.eval()


def shape_holds(model: Model, invariant: Invariant) -> str | None:
    """None if the tensor still has the shape that it was cut to, else what became of it."""
    tensor = model.module.state_dict().get(invariant.layer)
    if tensor is None:
        return "is gone"
    found = list(tensor.shape)
    return None if found == invariant.value else f"was cut to {invariant.value}, and is {found} now"


def _tensors(module: "nn.Module") -> "dict[str, Tensor]":
    return {
        **dict(module.named_parameters(remove_duplicate=False)),
        **dict(module.named_buffers(remove_duplicate=False)),
    }


def _attributes(old: "nn.Module", new: "nn.Module") -> dict[str, Json]:
    """Plain data among a module's attributes that is not as it was."""
    before = vars(old)
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in vars(new).items()
        if not name.startswith("_") and name != "training" and _plain(value)
        and (name not in before or (_plain(before[name]) and before[name] != value))
    }  # fmt: skip


def _plain(value: Any) -> bool:
    """Whether a value is plain data."""
    if isinstance(value, list | tuple):
        return all(_plain(one) for one in value)
    return value is None or isinstance(value, bool | int | float | str)


def _untold(what: str, where: str) -> ParingError:
    return ParingError(f"the change cannot be saved as data: {what}", where, "report this as a fault of the step")
