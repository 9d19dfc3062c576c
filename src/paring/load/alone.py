"""Proof that a network answers each sample by itself, and alike each time: a file runs one sample at a time.

Batch norm without running statistics, attention over the wrong dimension, dropout that goes on in eval mode: such a
network has no answer that a file could give. It runs on two samples and on one of them alone.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from paring.core.errors import ParingError
from paring.core.model import Model
from paring.load import prove
from paring.load.blueprint import Network

_ROUNDING = 1e-4  # of the answer: sums in another order, through many layers
_MATTERS = 1e-3  # of what tells the answers to two samples apart
_AGAIN = 1e-6  # of the answer: the same sums once more
_KEPT = 1 << 20  # values of a layer's answer that are looked at to find the first one that differs

Tensors = Sequence[Tensor]


def check(model: Model) -> None:
    """Runs a model on random samples, twice or three times.

    Raises:
        ParingError: its answer to a sample depends on the other samples of the batch or on chance, or it takes no
            sample alone; the first layer that is to blame is named.
    """
    module, where = model.module, str(model.source)
    arrays = prove.samples(model.inputs)
    pair = [torch.from_numpy(array[:2]) for array in arrays]
    one = [tensor[1:] for tensor in pair]
    with torch.random.fork_rng(devices=[]), torch.inference_mode():
        try:
            before, (together, guilty) = torch.get_rng_state(), _watched(module, _copies(pair))
        except Exception:  # on values at random it fails in any way; with its own it may not
            return
        if guilty:
            raise ParingError(
                f"{guilty} normalizes by the statistics of the batch, not by running ones",
                where,
                "train it with track_running_stats=True and call eval(), or take a norm of each sample alone: "
                "GroupNorm, InstanceNorm",
            )
        drawn = not torch.equal(before, torch.get_rng_state())
        try:
            alone = _run(module, _copies(one))
        except Exception as error:  # likewise
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise ParingError(
                f"its forward pass takes two samples, and fails for one alone: {reason}",
                where,
                "write it for any batch",
            ) from error
        for spec, found in zip(model.outputs, alone, strict=True):
            if found.shape[:1] != (1,):
                raise ParingError(
                    f"for a batch of 1 its forward pass gives {spec.name} of shape {tuple(found.shape)}",
                    where,
                    "return tensors with the batch first; squeeze(dim) names the dimension that goes",
                )
        depends = any(map(_depends, together, alone))
        if (drawn or depends) and any(
            _apart(a, b, _AGAIN) for a, b in zip(together, _run(module, _copies(pair)), strict=True)
        ):
            raise ParingError(
                f"answers otherwise each time: {_first(module, pair, pair)} draws at random, or keeps what it saw",
                where,
                "draw nothing in eval mode, e.g. functional.dropout(x, training=self.training)",
            )
        if depends:
            raise ParingError(
                f"its answer to a sample depends on the others in the batch, first in {_first(module, pair, one)}",
                where,
                "compute over the dimensions of one sample alone; the batch is the first one (batch_first=True)",
            )


def _run(module: nn.Module, tensors: Tensors) -> list[Tensor]:
    answer = module(*tensors)
    return list(answer) if isinstance(answer, tuple) else [answer]


def _watched(module: nn.Module, tensors: Tensors) -> tuple[list[Tensor], str]:
    """The answers, and the first batch norm that normalized by the batch."""
    called: list[str] = []

    def noted(name: str) -> Callable[..., None]:
        return lambda layer, *_: called.append(f"{name} ({type(layer).__name__})")

    hooks = [
        layer.register_forward_hook(noted(name))
        for name, layer in module.named_modules()
        if isinstance(layer, nn.modules.batchnorm._BatchNorm) and (layer.training or layer.running_mean is None)
    ]
    try:
        return _run(module, tensors), next(iter(called), "")
    finally:
        for hook in hooks:
            hook.remove()


def _depends(together: Tensor, alone: Tensor) -> bool:
    """Whether the second sample's answer is another one alone, by more than rounding and more than it matters."""
    if together.shape[1:] != alone.shape[1:]:
        return True
    return _apart(together[1:], alone, _ROUNDING) and (
        not alone.is_floating_point() or _distance(together[1:], alone) > _MATTERS * _distance(together[:1], alone)
    )


def _apart(found: Tensor, wanted: Tensor, tolerance: float) -> bool:
    """Whether values differ; a hundredth of whole numbers may, as rounding decides ties."""
    if found.shape != wanted.shape:
        return True
    if not wanted.is_floating_point() and not wanted.is_complex():
        return bool((found != wanted).float().mean() > 0.01)
    return _distance(found, wanted) > tolerance * _distance(wanted, torch.zeros_like(wanted))


def _distance(first: Tensor, second: Tensor) -> float:
    """Norm of the difference, of what is finite in both."""
    apart = (first - second).abs().double()
    return float(apart[apart.isfinite()].norm())


def _first(module: nn.Module, several: Tensors, fewer: Tensors) -> str:
    """The first layer that is given the same and answers otherwise."""
    kept = (_kept(module, several), _kept(module, fewer))
    for (name, given, answers), (other, given_, answers_) in zip(*kept, strict=False):
        if name != other:
            break
        if not _any_apart(given, given_) and _any_apart(answers, answers_):
            return name
    return "its forward"


def _any_apart(first: Tensors, second: Tensors) -> bool:
    return len(first) != len(second) or any(
        _apart(_like(a, b), b, _ROUNDING) for a, b in zip(first, second, strict=True)
    )


def _like(together: Tensor, alone: Tensor) -> Tensor:
    """Of values of two samples those of the second, along whichever dimension the samples lie."""
    sizes = zip(together.shape, alone.shape, strict=False)
    for dim, (many, few) in enumerate(sizes):
        if together.ndim == alone.ndim and many == 2 * few:
            return together.narrow(dim, few, few)
    return together


def _kept(module: nn.Module, tensors: Tensors) -> list[tuple[str, Tensors, Tensors]]:
    """What each layer was given and gave, in the order in which they ended."""
    if isinstance(module, Network):
        return list(_nodes(module, tensors))
    found: list[tuple[str, Tensors, Tensors]] = []
    given: dict[int, list[Tensors]] = {}

    def begins(layer: nn.Module, args: Any, kwargs: Any) -> None:
        given.setdefault(id(layer), []).append(_kept_of((args, kwargs)))

    def ends(name: str) -> Callable[..., None]:
        def hook(layer: nn.Module, _args: Any, answer: Any) -> None:
            found.append((name, given[id(layer)].pop(), _kept_of(answer)))

        return hook

    hooks = []
    for name, layer in module.named_modules():
        told = f"{name} ({type(layer).__name__})" if name else "its forward"
        hooks += [layer.register_forward_pre_hook(begins, with_kwargs=True), layer.register_forward_hook(ends(told))]
    try:
        _run(module, _copies(tensors))
    finally:
        for hook in hooks:
            hook.remove()
    return found


def _nodes(network: Network, tensors: Tensors) -> Iterator[tuple[str, Tensors, Tensors]]:
    """Of a network from a file each node, which may be a function; those before it need not be compared."""
    for node, value in zip(network.nodes, network.trace(tensors, [one.name for one in network.nodes]), strict=True):
        yield f"{node.name} ({node.options.get('operator', node.op)})", [], _kept_of(value)


def _kept_of(values: Any) -> Tensors:
    """Copies of the tensors in an answer that are not too large."""
    return [one for one in _copies(values) if one.numel() <= _KEPT]


def _copies(values: Any) -> Tensors:
    """Copies of the tensors in an answer, or of inputs: what comes after may change them in place."""
    return [one.clone() for one in tree_leaves(values) if isinstance(one, Tensor)]
