"""The last layer fitted anew to what a smaller network gives it, so that a loss tells what training cannot bring back.

A cut near the answers moves them a lot, and a few steps of training put most of it right: the last layer learns to read
what is left. How much of the answers a linear layer can still read is what a linear probe measures (Alain and Bengio
2016, arXiv:1610.01644, section 3). Here it is found in closed form, by ridge regression of what the answers miss on
what the last layer reads; each half of the samples is answered by a layer that was fitted to the other half.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

RIDGES = (1e-3, 1e-2, 1e-1, 1.0)  # of the features' mean energy; which holds best on other samples is not known before


def layers(module: nn.Module, answers: Callable[[], Mapping[str, Tensor]]) -> dict[str, str]:
    """Answer -> the linear layer that gives it, of those that are one row of values a sample and come from one.

    Args:
        module: that answers.
        answers: one forward pass of it.
    """
    names: dict[int, str] = {}
    given: list[Tensor] = []  # kept, so that no two have the same id

    def gave(name: str, output: Tensor) -> None:
        given.append(output)
        names[id(output)] = name

    handles = [
        layer.register_forward_hook(lambda _, __, output, name=name: gave(name, output))
        for name, layer in module.named_modules()
        if isinstance(layer, nn.Linear)
    ]
    try:
        found = answers()
    finally:
        for handle in handles:
            handle.remove()
    return {name: names[id(answer)] for name, answer in found.items() if answer.ndim == 2 and id(answer) in names}


@contextmanager
def watching(module: nn.Module, layers: Mapping[str, str]) -> Iterator[dict[str, list[Tensor]]]:
    """Inside, each forward pass adds what the last layers read: answer -> a tensor (samples, features) a pass.

    Args:
        module: whose passes are watched.
        layers: as the function of that name found them.
    """
    features: dict[str, list[Tensor]] = {answer: [] for answer in layers}
    handles = [
        module.get_submodule(name).register_forward_pre_hook(
            lambda _, given, kept=features[answer]: kept.append(given[0].detach())
        )
        for answer, name in layers.items()
    ]
    try:
        yield features
    finally:
        for handle in handles:
            handle.remove()


def refitted(features: Tensor, found: Tensor, wanted: Tensor) -> Iterator[Tensor]:
    """The answers with the last layer fitted anew, once for each of `RIDGES`; none of fewer than four samples.

    Args:
        features: what the last layer reads, shape (samples, features).
        found: its answers, shape (samples, values).
        wanted: those of the uncut network, likewise.
    """
    inputs, missing = features.double(), (wanted - found).double()
    halves = torch.arange(len(found), device=found.device) % 2 == 0
    for ridge in RIDGES if len(found) >= 4 else ():
        better = found.double()
        for fit in (halves, ~halves):
            middle, level = inputs[fit].mean(0), missing[fit].mean(0)
            rows = inputs[fit] - middle
            alike = rows @ rows.T
            damping = ridge * alike.diagonal().mean().clamp_min(1e-12)
            told = torch.linalg.solve(alike + damping * torch.eye(len(rows)).to(alike), missing[fit] - level)
            better[~fit] += level + (inputs[~fit] - middle) @ (rows.T @ told)
        yield better.to(found.dtype)
