"""Batch-norm statistics anew: a network with fewer channels has other means and variances than it was trained with.

Li et al. 2020, "EagleEye: Fast Sub-net Evaluation for Efficient Neural Network Pruning", arXiv:2007.02491, section 3.3:
the statistics of a cut network, taken again over training samples, tell what fine-tuning will reach.
"""

import torch
from torch import nn

from paring.core.errors import ParingError
from paring.core.model import Model
from paring.core.task import Task
from paring.measure import cost
from paring.steps import effort
from paring.train.forward import forward

REESTIMATED = 1024, 32  # calibration samples, at most and at least


def told(model: Model, module: nn.Module, task: Task) -> str:
    """`reestimate` after blocks were taken out; what was done, for people, empty where there is no batch norm."""
    norms = reestimate(model, module, task, REESTIMATED[0], effort.batch(float(cost.macs(model))))
    return f"; {norms} batch norms re-estimated" if norms else ""


def reestimate(model: Model, module: nn.Module, task: Task, samples: int, batch_size: int) -> int:
    """Sets running mean and variance of every batch norm of `module` to those of calibration samples, in place.

    Args:
        model: names the inputs.
        module: in eval mode, also afterwards.
        task: gives the samples.
        samples: how many; each batch counts alike.
        batch_size: in a pass.

    Returns:
        The number of batch norms.

    Raises:
        ParingError: there are batch norms, and no samples.
    """
    norms = [
        part
        for part in module.modules()
        if isinstance(part, nn.modules.batchnorm._BatchNorm) and part.track_running_stats
    ]
    if not norms:
        return 0
    if task.size("calibration") < 2:
        raise ParingError("the calibration split is empty", f"task {task.name}", "give it more training samples")
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean over batches
        norm.train()
    with torch.no_grad():
        for batch in task.batches("calibration", batch_size, limit=samples):
            if len(batch.targets) > 1:
                forward(model, module, batch.inputs)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()
    return len(norms)
