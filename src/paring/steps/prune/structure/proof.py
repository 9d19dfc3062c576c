"""Proof that groups can be cut: the smaller network computes what the whole one does without those channels.

Tracing sees what passes gradients, not what an operator does to channels: a reshape into attention heads, a softmax
over channels or a shuffle of them look like any elementwise work. So of every group half is cut once, and compared with
the uncut network whose layers do not read those channels (their columns of weights are 0). Both must agree at every
layer with weights, on random inputs; a group that does not is left as it is, with the reason.
"""

import copy
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.functional import group_norm, layer_norm
from torch.utils._python_dispatch import TorchDispatchMode

from paring.core.model import Model
from paring.steps.prune.structure.carve import Kept, carved, one_input_each
from paring.steps.prune.structure.groups import WEIGHTED, Group, Structure, find

Thing = TypeVar("Thing")
_TOLERANCE = 1e-9  # of a layer's largest output: sums over fewer channels round otherwise, in float64 far less


def prunable(model: Model) -> Structure:
    """The groups of a model that stand the proof; the layers of others are among `skipped`."""
    structure = find(model)
    # In float64: while attention is all but uniform, wrong heads change answers by less than float32 rounds.
    module = copy.deepcopy(model.module).double()
    inputs = samples(model)
    sound, unsound = by_halves(structure.groups, lambda groups: _fault(module, structure, groups, inputs))
    skipped = {layer: reason for group, reason in unsound for layer in group.layers}
    return replace(structure, groups=tuple(sound), skipped={**structure.skipped, **skipped})


def by_halves(
    things: Sequence[Thing], fault: Callable[[Sequence[Thing]], str | None]
) -> tuple[list[Thing], list[tuple[Thing, str]]]:
    """Those that can go together, and others with the reason; one that cannot costs few trials.

    Args:
        things: what may be cut.
        fault: why these cannot be cut together; None if they can.
    """
    sound: list[Thing] = []
    unsound: list[tuple[Thing, str]] = []
    waiting = [list(things)]
    while waiting:
        some = waiting.pop()
        # each beside those that stood before it: they may depend on each other
        reason = fault([*sound, *some]) if some else None
        if reason is None:
            sound += some
        elif len(some) == 1:
            unsound.append((some[0], reason))
        else:
            waiting += [some[len(some) // 2 :], some[: len(some) // 2]]
    return sound, unsound


def samples(model: Model) -> list[Tensor]:
    """Two random samples, in float64."""
    chance = torch.Generator().manual_seed(0)
    found = []
    for spec in model.inputs:
        low, high = spec.range or (0.0, 1.0)
        dtype = getattr(torch, spec.dtype)
        if dtype.is_floating_point:
            found.append(low + (high - low) * torch.rand(spec.sized(2), generator=chance, dtype=torch.float64))
        else:
            found.append(torch.randint(int(low), int(high) + 1, spec.sized(2), generator=chance, dtype=dtype))
    return found


def _fault(module: nn.Module, structure: Structure, groups: Sequence[Group], inputs: Sequence[Tensor]) -> str | None:
    """Why these groups cannot be cut together; None if they can."""
    kept = structure.kept({group.name: _half(group.units) for group in groups})
    try:
        found = outputs(carved(module, kept, structure.axes), inputs)
    except Exception as error:  # a forward pass with other shapes can fail in any way
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        return f"with fewer channels its network fails: {reason}"
    wanted = outputs(_deaf(module, kept, structure), inputs)
    for name, tensors in wanted.items():
        axis = -1 if not name or not isinstance(module.get_submodule(name), nn.modules.conv._ConvNd) else 1
        index = kept.get((name, "out"))
        for one, other in zip(tensors, found.get(name, []), strict=False):
            whole = one if index is None else one.index_select(axis, torch.tensor(index))
            if whole.shape != other.shape or not close(whole, other):
                return "what lies behind it mixes its channels or needs all of them, so that cutting changes more"
    return None


def _half(units: int) -> range:
    """About half, an odd number: heads of attention would hide in an even one."""
    count = max(1, units // 2)
    return range(0, units, 2)[: count - 1 if count % 2 == 0 else count]


def close(wanted: Tensor, found: Tensor) -> bool:
    """Whether both are the same but for the order of sums."""
    if not wanted.is_floating_point():
        return torch.equal(wanted, found)
    return bool(((wanted - found).abs() <= _TOLERANCE * wanted.abs().max() + 1e-12).all())


def outputs(module: nn.Module, inputs: Sequence[Tensor]) -> dict[str, list[Tensor]]:
    """What every layer with weights gives at each of its calls; under the empty name the answers."""
    found: dict[str, list[Tensor]] = defaultdict(list)
    handles = [
        part.register_forward_hook(lambda _, __, output, name=name: found[name].append(_first(output)))
        for name, part in module.named_modules()
        if isinstance(part, WEIGHTED)
    ]
    try:
        with torch.no_grad(), _Double():  # type: ignore[no-untyped-call]
            answer = module(*inputs)
    finally:
        for handle in handles:
            handle.remove()
    return {**found, "": list(answer) if isinstance(answer, tuple) else [answer]}


class _Double(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Keeps float64 what code brings to float32, such as a norm or a softmax."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        options = dict(kwargs or {})
        if options.get("dtype") is torch.float32:
            options["dtype"] = torch.float64
        return func(*args, **options)


def _first(output: Any) -> Tensor:
    return output[0] if isinstance(output, tuple) else output  # type: ignore[no-any-return]


def _deaf(module: nn.Module, kept: Kept, structure: Structure) -> nn.Module:
    """A copy whose layers read only the channels that stay; norms over channels are taken over these alone."""
    found = copy.deepcopy(module)
    for (name, side), channels in kept.items():
        if name in structure.axes:
            continue
        layer = found.get_submodule(name)
        stay = torch.tensor(channels)
        gone = torch.tensor(sorted(set(range(structure.sizes[name, side])) - set(channels)))
        if isinstance(layer, nn.LayerNorm | nn.GroupNorm):
            layer.register_forward_hook(lambda part, given, output, stay=stay: _norm(part, given[0], output, stay))
        with torch.no_grad():
            if isinstance(layer, nn.Linear) and side == "in":
                layer.weight[:, gone] = 0
            elif isinstance(layer, nn.LSTM):
                read = "weight_ih_l0" if side == "in" else "weight_hh_l0"
                for weight in (read, f"{read}_reverse") if layer.bidirectional else (read,):
                    layer.get_parameter(weight)[:, gone] = 0
            elif isinstance(layer, nn.modules.conv._ConvNd) and side == "in" and not one_input_each(layer):
                if layer.transposed:
                    layer.weight[gone] = 0
                else:
                    within = layer.in_channels // layer.groups
                    layer.weight[:, gone[gone < within]] = 0  # the same places in each group
    return found


def _norm(layer: nn.LayerNorm | nn.GroupNorm, x: Tensor, output: Tensor, stay: Tensor) -> Tensor:
    """A norm over the channels that stay; the others are what they were, nothing reads them."""
    weight, bias = (None if one is None else one[stay] for one in (layer.weight, layer.bias))
    if isinstance(layer, nn.GroupNorm):
        groups = len(stay) if layer.num_groups == layer.num_channels else layer.num_groups
        return output.index_copy(1, stay, group_norm(x[:, stay], groups, weight, bias, layer.eps))
    size = list(layer.normalized_shape)
    for axis in (-1, 1):  # some subclasses normalize along the channels of an image
        if x.shape[axis] == size[0]:
            whole = layer_norm(x.movedim(axis, -1), size, layer.weight, layer.bias, layer.eps).movedim(-1, axis)
            if torch.allclose(whole, output):
                part = layer_norm(
                    x.index_select(axis, stay).movedim(axis, -1), (len(stay),), weight, bias, layer.eps
                ).movedim(-1, axis)
                return output.index_copy(axis, stay, part)
    return output
