"""The sensitivity scan: what the answers lose when one group alone is cut.

Each group is cut for real at a few widths, the others being whole, and the answers are compared with those of the uncut
network on calibration samples; labels are not needed. Between two widths the loss is interpolated. Of several groups
the losses are taken to add up, as He et al. 2018, "AMC", arXiv:1802.03494, section 1, describes the practice of
sensitivity analysis, and as holds to first order.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import kl_div, log_softmax

from paring.core.model import Model
from paring.core.step import Progress
from paring.core.task import Task
from paring.steps.prune.structure.groups import Group, Structure
from paring.steps.prune.structure.importance import Scores
from paring.train.forward import forward, placed
from paring.train.simulate import laid_out

Cut = Callable[[Mapping[str, Sequence[int]]], nn.Module]  # group -> units that stay -> the smaller network
SHARES = (0.75, 0.5, 0.25)  # of a group's units that stay, and the fewest that may


class Losses:
    """Compares networks with the uncut one.

    Args:
        model: uncut.
        task: gives calibration samples.
        samples: how many.
        batch_size: in a pass.
    """

    def __init__(self, model: Model, task: Task, samples: int, batch_size: int) -> None:
        self._model, self._classes = model, bool(task.labels)
        device = next((one.device for one in model.module.parameters()), torch.device("cpu"))
        batches = task.batches("calibration", batch_size, limit=samples)
        self._inputs = [placed(batch.inputs, device) for batch in batches]
        self._wanted = [self._answers(model.module, inputs) for inputs in self._inputs]

    def __call__(self, module: nn.Module) -> float:
        """Mean loss of a sample: KL(uncut ‖ cut) of classes, else the squared error as a share of the answers' own.

        Args:
            module: a cut copy, whose weights are laid out anew in memory.
        """
        for tensor in [*module.parameters(), *module.buffers()]:
            tensor.data = laid_out(tensor.data)
        total, count = 0.0, 0
        for inputs, wanted in zip(self._inputs, self._wanted, strict=True):
            found = self._answers(module, inputs)
            size = len(next(iter(wanted.values())))
            total += size * sum(self._distance(wanted[name], found[name]) for name in wanted)
            count += size
        return total / count

    def _answers(self, module: nn.Module, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        with torch.inference_mode():
            return forward(self._model, module, inputs)

    def _distance(self, wanted: Tensor, found: Tensor) -> float:
        if self._classes and wanted.ndim == 2:
            logs = log_softmax(found, -1), log_softmax(wanted, -1)
            return float(kl_div(*logs, reduction="batchmean", log_target=True))
        return float((found - wanted).square().mean() / wanted.square().mean().clamp_min(1e-20))


def best(group: Group, scores: Scores, units: int) -> list[int]:
    """The units of a group that matter most, ascending."""
    order = scores[group.name].argsort(descending=True, stable=True)[:units]
    return sorted(order.tolist())


def widths_to_scan(allowed: Sequence[int]) -> list[int]:
    """A few of the widths that a group may take, descending, without the whole."""
    wanted = [min(allowed, key=lambda units: abs(units - share * allowed[-1])) for share in SHARES]
    return sorted({*wanted, allowed[0]} - {allowed[-1]}, reverse=True)


def scan(
    structure: Structure, scores: Scores, allowed: Mapping[str, Sequence[int]], cut: Cut, losses: Losses,
    progress: Progress,
) -> dict[str, dict[int, float]]:  # fmt: skip
    """Group -> units that stay -> loss; the whole loses nothing."""
    plan = [(group, units) for group in structure.groups for units in widths_to_scan(allowed[group.name])]
    found = {group.name: {group.units: 0.0} for group in structure.groups}
    with progress.bar("sensitivity", len(plan)) as advance:
        for group, units in plan:
            found[group.name][units] = losses(cut({group.name: best(group, scores, units)}))
            advance(1, group.name)
    return found


def curve(points: Mapping[int, float], allowed: Sequence[int]) -> NDArray[np.float64]:
    """The loss at each width that is allowed: interpolated, and never less for fewer channels."""
    known = sorted(points)
    values = np.interp(allowed, known, [points[units] for units in known])
    found: NDArray[np.float64] = np.maximum.accumulate(np.maximum(values, 0.0)[::-1])[::-1]
    return found


def passes(allowed: Mapping[str, Sequence[int]]) -> int:
    """How many networks a scan compares."""
    return sum(len(widths_to_scan(one)) for one in allowed.values())
