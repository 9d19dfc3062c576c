"""Blocks that a network can run without, found by running it.

A block is an entry of a list (`nn.Sequential`, `nn.ModuleList`) that gives what it takes, in one shape, and has a path
around its weights, as in He et al. 2015, arXiv:1512.03385, equation 1: y = x + F(x). Taken out, what it would have read
goes to the next.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from paring.core.errors import ParingError
from paring.core.model import Model, Skipped
from paring.core.target import one_sample
from paring.steps.select import Choosable, select

Watch = Callable[[str, Any, Any], object]
_PLAIN = (Tensor, bool, int, float, str, type(None), torch.dtype, torch.device, torch.Size)


@dataclass(frozen=True)
class Blocks:
    """Entries of lists that hold weights.

    Attributes:
        removable: names, in the order of the modules.
        refused: name -> why it has to stay, of entries of a class that some removable one has; of all if none can go.
    """

    removable: tuple[str, ...]
    refused: dict[str, str]


def find(model: Model) -> Blocks:
    """What can go, each for itself."""
    module = copy.deepcopy(model.module)  # a forward pass may note things in a module
    inputs = _sample(model)
    seen: dict[str, tuple[Any, ...]] = {}
    entries = _entries(module)
    with torch.inference_mode(), watching(module, entries, lambda *call: seen.setdefault(call[0], call[1:])):
        wanted = _shapes(module(*inputs))
    reasons = {name: _refusal(module, name, seen.get(name), inputs, wanted) for name in entries}
    removable = _whole(module, [name for name, reason in reasons.items() if reason is None])
    alike = {type(module.get_submodule(name)) for name in removable}
    refused = {
        name: reason
        for name, reason in reasons.items()
        if reason and (not removable or type(module.get_submodule(name)) in alike)
    }
    return Blocks(removable, refused)


def chosen(
    blocks: Blocks, only: Sequence[str], keep: Sequence[str], where: str
) -> tuple[list[str], tuple[Skipped, ...]]:
    """Blocks that may go; and those that the options choose, but that cannot.

    Args:
        blocks: of a model.
        only: patterns of what may go; every block if empty.
        keep: patterns of what stays.
        where: the step, for errors.

    Raises:
        ParingError: no block can go.
        UnknownName: a pattern matches no block.
    """
    there = [Choosable(name) for name in (*blocks.removable, *blocks.refused)]
    if not blocks.removable:
        told = "; ".join(f"{name}: {why}" for name, why in list(blocks.refused.items())[:3])
        raise ParingError(
            f"has no block that could go{told and f' ({told})'}",
            where,
            "make layers narrower instead (prune.channels); blocks are entries of nn.Sequential or nn.ModuleList",
        )
    found = set(select(only or ("*",), there, f"{where}: only")) - set(select(keep, there, f"{where}: keep"))
    refused = [Skipped(name, why) for name, why in blocks.refused.items() if only and name in found]
    return [name for name in blocks.removable if name in found], tuple(refused)


def remove(module: nn.Module, name: str) -> None:
    """Takes an entry out of its list, in place; the others keep their names."""
    parent, _, last = name.rpartition(".")
    del module.get_submodule(parent)._modules[last]


@contextmanager
def without(module: nn.Module, name: str) -> Iterator[None]:
    """The module without an entry, for a while."""
    there = module.get_submodule(name.rpartition(".")[0])._modules
    before = dict(there)
    remove(module, name)
    try:
        yield
    finally:
        there.clear()
        there.update(before)


def is_last(module: nn.Module, name: str) -> bool:
    """Whether an entry is the last of an `nn.ModuleList`, which few loops do without, or the last of its class."""
    entries, kind = module.get_submodule(name.rpartition(".")[0]), type(module.get_submodule(name))
    alone = isinstance(entries, nn.ModuleList) and len(entries) == 1
    return alone or sum(type(part) is kind for part in module.modules()) == 1


@contextmanager
def watching(module: nn.Module, names: tuple[str, ...], watch: Watch) -> Iterator[None]:
    """Calls `watch(name, arguments, answer)` whenever one of the modules ran.

    Not by hooks: some networks call `forward` themselves.
    """
    parts = {name: module.get_submodule(name) for name in names}

    def watched(name: str, forward: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any, **named: Any) -> Any:
            before = _apart(arguments), _apart(named)
            answer = forward(*arguments, **named)
            watch(name, before, answer)
            return answer

        return run

    try:
        for name, part in parts.items():
            part.forward = watched(name, part.forward)
        yield
    finally:
        for part in parts.values():
            vars(part).pop("forward", None)


def _apart(values: Any) -> Any:
    """Arguments with copies of what a block may write into, such as the keys and values that it has seen."""
    return tree_map(lambda one: one if isinstance(one, _PLAIN) or callable(one) else copy.deepcopy(one), values)


def tensor_of(values: Any) -> Tensor | None:
    """The first float tensor of some arguments, or of an answer."""
    return next((one for one in tree_leaves(values) if isinstance(one, Tensor) and one.is_floating_point()), None)


def _entries(module: nn.Module) -> tuple[str, ...]:
    """Entries of lists, but for those of a list alone, that hold a matrix or a kernel."""
    return tuple(
        f"{name}.{entry}" if name else entry
        for name, part in module.named_modules()
        if isinstance(part, nn.Sequential | nn.ModuleList)
        for entry, child in part.named_children()
        if not isinstance(child, nn.ModuleList) and any(one.ndim > 1 for one in child.parameters())
    )


def _refusal(
    module: nn.Module, name: str, call: tuple[Any, ...] | None, inputs: tuple[Tensor, ...], wanted: list[torch.Size]
) -> str | None:
    """Why the network cannot do without an entry; None if it can."""
    if call is None:
        return "it is never run"
    (arguments, named), answer = call
    taken, given = tensor_of((arguments, named)), tensor_of(answer)
    if taken is None or given is None or taken.shape != given.shape:
        shapes = [None if one is None else tuple(one.shape) for one in (taken, given)]
        return f"it takes {shapes[0]} and gives {shapes[1]}"
    try:
        if reason := _astray(module.get_submodule(name), arguments, named, taken):
            return reason
    except Exception as error:  # a forward pass can fail in any way
        return f"it does not run by itself: {(str(error).strip() or type(error).__name__).splitlines()[0]}"
    try:
        with without(module, name), torch.inference_mode():
            found = _shapes(module(*inputs))
    except Exception as error:  # a forward pass can fail in any way
        return f"the network does not run without it: {(str(error).strip() or type(error).__name__).splitlines()[0]}"
    return None if found == wanted else "without it the network gives other shapes"


def _astray(block: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any], taken: Tensor) -> str | None:
    """Why a block adds nothing to what it takes; None if what it gives without its matrices still follows that."""
    still = copy.deepcopy(block)
    chance = torch.Generator().manual_seed(0)
    moved = taken + torch.randn(taken.shape, generator=chance) * taken.std(correction=0).clamp(min=1e-3)
    with torch.inference_mode():
        for layer in still.modules():
            own = dict(layer.named_parameters(recurse=False))
            if any(one.ndim > 1 for one in own.values()):
                for one in own.values():
                    one.zero_()
        first = tensor_of(still.forward(*_apart(arguments), **_apart(named)))
        swapped = [moved if value is taken else value for value in arguments]
        second = tensor_of(still.forward(*swapped, **{k: moved if v is taken else v for k, v in named.items()}))
    if first is None or second is None or torch.allclose(first, second):
        return "nothing leads around its weights"
    scale = (first * taken).sum() / taken.square().sum()
    if torch.allclose(first, scale * taken, atol=1e-5) and abs(float(scale) - 1) > 1e-3:
        return f"it is a gate: without its weights it gives {float(scale):g} times what it takes"
    return None


def _whole(module: nn.Module, found: list[str]) -> tuple[str, ...]:
    """Blocks without those that are inside of others, and without chains that consist of blocks alone."""
    chains = set()
    for name in found:
        inside = [other for other in found if other.startswith(f"{name}.")]
        own = sum(one.numel() for one in module.get_submodule(name).parameters())
        parts = {id(one): one.numel() for other in inside for one in module.get_submodule(other).parameters()}
        if inside and sum(parts.values()) == own:
            chains.add(name)
    blocks = [name for name in found if name not in chains]
    return tuple(name for name in blocks if not any(name.startswith(f"{other}.") for other in blocks))


def _sample(model: Model) -> tuple[Tensor, ...]:
    """A batch of two."""
    samples = [one_sample(model.inputs, seed) for seed in range(2)]
    return tuple(torch.cat([torch.from_numpy(one[spec.name]) for one in samples]) for spec in model.inputs)


def _shapes(answer: Any) -> list[torch.Size]:
    return [one.shape for one in tree_leaves(answer) if isinstance(one, Tensor)]
