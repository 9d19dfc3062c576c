"""Which heads and feed-forward units can go: proved, as names and shapes of layers only promise it.

Of each about half is cut, and compared with the network whose layers do not read those: both must agree at every layer
with weights, in float64 (see `proof`).
"""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from paring.core.model import Model
from paring.steps.prune.structure import proof
from paring.steps.prune.structure.attention import Units, cut, silence


def standing(model: Model, found: Sequence[Units]) -> tuple[list[Units], list[tuple[Units, str]]]:
    """Those that stand the proof; others with the reason.

    Args:
        model: with torch's attention unpacked.
        found: in it.
    """
    module, inputs = copy.deepcopy(model.module).double(), proof.samples(model)
    return proof.by_halves(list(found), lambda units: _fault(module, units, inputs))


def _fault(module: nn.Module, units: Sequence[Units], inputs: Sequence[Tensor]) -> str | None:
    small, silent = copy.deepcopy(module), copy.deepcopy(module)
    for one in units:
        cut(small, one, _half(one))
        silence(silent, one, _half(one))
    try:
        found = proof.outputs(small, inputs)
    except Exception as error:  # a forward pass with other shapes can fail in any way
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        return f"without some of them its network fails: {reason}"
    narrow = {giver for one in units for giver in one.givers}
    for name, tensors in proof.outputs(silent, inputs).items():
        for wanted, answer in zip(tensors, found.get(name, []), strict=False):
            if name not in narrow and (wanted.shape != answer.shape or not proof.close(wanted, answer)):
                return "what is around them mixes them or needs all of them, so that cutting changes more"
    return None


def _half(units: Units) -> Tensor:
    """Those that stay: about half of each group, at least one."""
    whole = torch.arange(units.count).reshape(units.groups, -1)
    return whole[:, : max(1, whole.shape[1] // 2)].flatten()
