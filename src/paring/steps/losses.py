"""What the answers lose when a part of a network becomes smaller: measured, and interpolated between sizes."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import kl_div, log_softmax

from paring.core.model import Model
from paring.core.task import Task
from paring.steps import readout as last
from paring.train.forward import forward, placed
from paring.train.simulate import laid_out


class Losses:
    """Compares networks with the uncut one.

    Args:
        model: uncut.
        task: gives calibration samples.
        samples: how many.
        batch_size: in a pass.
        readout: whether the last layer is fitted anew to each network, where that answers better (`readout`).
    """

    def __init__(self, model: Model, task: Task, samples: int, batch_size: int, *, readout: bool = False) -> None:
        self._model, self._classes = model, bool(task.labels)
        device = next((one.device for one in model.module.parameters()), torch.device("cpu"))
        batches = task.batches("calibration", batch_size, limit=samples)
        self._inputs = [placed(batch.inputs, device) for batch in batches]
        module = model.module
        self._last = last.layers(module, lambda: self._pass(module, self._inputs[0])) if readout else {}
        self._wanted, _ = self._answers(module)

    def __call__(self, module: nn.Module) -> float:
        """Mean loss of a sample: KL(uncut ‖ cut) of classes, else the squared error as a share of the answers' own.

        Args:
            module: a cut copy, whose weights are laid out anew in memory.
        """
        for tensor in [*module.parameters(), *module.buffers()]:
            tensor.data = laid_out(tensor.data)
        found, features = self._answers(module)
        return sum(self._least(wanted, found[name], features.get(name)) for name, wanted in self._wanted.items())

    def _answers(self, module: nn.Module) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """All answers by name, and what the last layers read for them."""
        with last.watching(module, self._last) as features:
            passes = [self._pass(module, inputs) for inputs in self._inputs]
        found = {name: torch.cat([one[name] for one in passes]) for name in passes[0]}
        return found, {name: torch.cat(read) for name, read in features.items()}

    def _pass(self, module: nn.Module, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        with torch.inference_mode():
            return forward(self._model, module, inputs)

    def _least(self, wanted: Tensor, found: Tensor, features: Tensor | None) -> float:
        """The distance of the answers, or of those with the last layer fitted anew."""
        every = [found] if features is None else [found, *last.refitted(features, found, wanted)]
        return min(self._distance(wanted, one) for one in every)

    def _distance(self, wanted: Tensor, found: Tensor) -> float:
        if self._classes and wanted.ndim == 2:
            logs = log_softmax(found, -1), log_softmax(wanted, -1)
            return float(kl_div(*logs, reduction="batchmean", log_target=True))
        return float((found - wanted).square().mean() / wanted.square().mean().clamp_min(1e-20))


def curve(points: Mapping[int, float], allowed: Sequence[int]) -> NDArray[np.float64]:
    """The loss at each size that is allowed: interpolated, and never less for a smaller one.

    Args:
        points: size -> the loss that was measured there.
        allowed: sizes, ascending, within those measured.
    """
    known = sorted(points)
    values = np.interp(allowed, known, [points[size] for size in known])
    found: NDArray[np.float64] = np.maximum.accumulate(np.maximum(values, 0.0)[::-1])[::-1]
    return found
