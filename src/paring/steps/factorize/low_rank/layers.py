"""Which layers of a network can be taken apart, found by running it."""

import copy
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from paring.core.errors import ParingError
from paring.core.model import Model
from paring.core.target import one_sample
from paring.steps.prune.sparsity.tensors import weights
from paring.steps.select import Choosable
from paring.steps.shapes import RANK

_TYPES: tuple[type[nn.Module], ...] = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Embedding)
_SEEN = (*_TYPES, nn.modules.conv._ConvNd)


@dataclass(frozen=True)
class Layer(Choosable):
    """A layer with a matrix or a kernel.

    Attributes:
        shapes: of what it reads, at each of its calls for one sample.
        reason: why it cannot be taken apart; empty if it can.
    """

    shapes: tuple[tuple[int, ...], ...] = ()
    reason: str = ""


def find(model: Model, refusal: Callable[[nn.Module], str]) -> list[Layer]:
    """Linear layers, convolutions and embeddings, in the order of their first call.

    Args:
        model: not quantized.
        refusal: of the method: why it cannot take a layer apart; empty if it can.

    Raises:
        ParingError: the network fails on a sample.
    """
    module = model.module
    inputs = sample(model)
    shapes: dict[str, list[tuple[int, ...]]] = defaultdict(list)
    with _watching(module, shapes), torch.no_grad():
        wanted = _answers(module, inputs)
    tied = Counter(id(one) for _, one in module.named_parameters(remove_duplicate=False))
    used = {one.name: one.reason for one in _weights(model)}
    pruned = {one.layer for one in model.invariants if one.kind == "sparsity"}
    factors = {one.layer: one.value for one in model.invariants if one.kind == RANK}
    names = [name for name, part in module.named_modules(remove_duplicate=False) if isinstance(part, _SEEN)]
    reasons = {}
    for name in names:
        part = module.get_submodule(name)
        told = _refusal(part, tied)
        if not told and name not in shapes:
            told = "the code around it reads its weight" if f"{name}.weight" in used else "it is never called"
            told = "it has another name, too" if _twice(module, part) else told
        if not told and f"{name}.weight" in pruned:
            told = "its weights are pruned, and factors would not keep the zeros"
        if not told and any(name.startswith(f"{one}.") for one in factors):
            told = "it is a factor already"
        if not told and isinstance(part, nn.Embedding) and used.get(f"{name}.weight"):
            told = used[f"{name}.weight"]
        reasons[name] = told or refusal(part)
    reasons |= _read(module, [name for name, told in reasons.items() if not told], inputs, wanted)
    order = {name: place for place, name in enumerate(shapes)}
    names.sort(key=lambda name: order.get(name, len(order)))
    computing = [name for name in names if name in shapes and not isinstance(module.get_submodule(name), nn.Embedding)]
    ends = {"first": computing[:1], "last": computing[-1:]}
    return [
        Layer(
            name, _kinds(module.get_submodule(name)) | {end for end, one in ends.items() if name in one},
            tuple(shapes.get(name, ())), reasons[name],
        )
        for name in names
    ]  # fmt: skip


def sample(model: Model) -> list[Tensor]:
    """A batch of one."""
    drawn = one_sample(model.inputs)
    device = next((one.device for one in model.module.parameters()), torch.device("cpu"))
    return [torch.from_numpy(drawn[spec.name]).to(device) for spec in model.inputs]


def _kinds(layer: nn.Module) -> frozenset[str]:
    if isinstance(layer, nn.Embedding):
        return frozenset({"embedding"})
    if isinstance(layer, nn.Linear):
        return frozenset({"linear"})
    single = all(size == 1 for size in getattr(layer, "kernel_size", ()))
    return frozenset({"conv", "pointwise"} if single else {"conv"})


def _refusal(layer: nn.Module, tied: Mapping[int, int]) -> str:
    base = next((kind for kind in _TYPES if isinstance(layer, kind)), None)
    if isinstance(layer, nn.modules.conv._ConvNd) and layer.transposed:
        return "it is a transposed convolution"
    if base is None:
        return f"{type(layer).__name__} has no rule for factors"
    if type(layer).forward is not base.forward or "weight" not in layer._parameters:
        return f"it computes otherwise than an nn.{base.__name__}"
    if isinstance(layer, nn.Conv1d | nn.Conv2d) and layer.groups > 1:
        return f"it works in {layer.groups} groups"
    if isinstance(layer, nn.Embedding) and layer.max_norm is not None:
        return "it bounds the norm of its rows"
    return _unfit(layer.get_parameter("weight"), tied)


def _unfit(weight: Tensor, tied: Mapping[int, int]) -> str:
    if tied[id(weight)] > 1:
        return "it shares its weight"
    if weight.dtype is not torch.float32:
        return f"its weight is {str(weight.dtype).removeprefix('torch.')}"
    if not bool(torch.isfinite(weight).all()):
        return "its weight holds NaN or infinite values"
    return "" if bool(weight.any()) else "its weight is 0"


def _twice(module: nn.Module, part: nn.Module) -> bool:
    return sum(one is part for _, one in module.named_modules(remove_duplicate=False)) > 1


def _weights(model: Model) -> Sequence[Any]:
    try:
        return weights(model)
    except ParingError:  # it does not answer to the inputs that would tell
        return []


def _read(
    network: nn.Module, names: Sequence[str], inputs: Sequence[Tensor], wanted: Sequence[Tensor]
) -> dict[str, str]:
    """Layers for which nothing else can stand, such as those whose weight the code around them reads: with the reason.

    Each is put into an `nn.Sequential` of its own, which must change nothing.
    """
    module = copy.deepcopy(network)
    if _stands(module, names, inputs, wanted) is None:
        return {}
    found = {}
    for name in names:
        if (told := _stands(module, [name], inputs, wanted)) is not None:
            found[name] = f"the code around it wants the layer itself ({told})"
    return found


def _stands(module: nn.Module, names: Sequence[str], inputs: Sequence[Tensor], wanted: Sequence[Tensor]) -> str | None:
    """What goes wrong where others stand for these layers; None if nothing does."""
    before = {name: module.get_submodule(name) for name in names}
    for name, part in before.items():
        module.set_submodule(name, nn.Sequential(part).eval())
    try:
        with torch.no_grad():
            found = _answers(module, inputs)
    except Exception as error:  # a forward pass can fail in any way
        return (str(error).strip() or type(error).__name__).splitlines()[0]
    finally:
        for name, part in before.items():
            module.set_submodule(name, part)
    alike = all(torch.allclose(one, other, equal_nan=True) for one, other in zip(found, wanted, strict=True))
    return None if alike else "the answers change"


def _answers(module: nn.Module, inputs: Sequence[Tensor]) -> list[Tensor]:
    answer = module(*inputs)
    return list(answer) if isinstance(answer, tuple) else [answer]


@contextmanager
def _watching(module: nn.Module, shapes: dict[str, list[tuple[int, ...]]]) -> Iterator[None]:
    handles = [
        module.get_submodule(name).register_forward_pre_hook(
            lambda _, given, name=name: shapes[name].append(tuple(given[0].shape))
        )
        for name, part in module.named_modules()
        if isinstance(part, _SEEN)
    ]
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # it calls no layer of a transformer's
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
        for handle in handles:
            handle.remove()
