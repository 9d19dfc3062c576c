"""Optimizer and learning-rate schedule of a configuration."""

from collections.abc import Callable, Sequence
from math import cos, pi

from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.swa_utils import get_ema_multi_avg_fn

from paring.train.config import TrainConfig

_NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
_START = 1 / 25  # of the peak, where one-cycle begins


def parameter_groups(module: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Trainable parameters in two groups: weights, which decay, and norms and biases, which do not.

    Decay pulls weights toward 0 against overfitting; a norm's scale and a bias only lose their meaning by it.
    """
    norms = {id(own) for part in module.modules() if isinstance(part, _NORMS) for own in part.parameters(recurse=False)}
    trainable = [parameter for parameter in module.parameters() if parameter.requires_grad]
    exempt = [parameter.ndim < 2 or id(parameter) in norms for parameter in trainable]
    groups = [
        {"params": [p for p, free in zip(trainable, exempt, strict=True) if not free], "weight_decay": weight_decay},
        {"params": [p for p, free in zip(trainable, exempt, strict=True) if free], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def make_optimizer(module: nn.Module, config: TrainConfig, adapters: nn.Module | None = None) -> Optimizer:
    """The optimizer over the trainable parameters of a module, and of what is trained along with it."""
    groups = parameter_groups(nn.ModuleList([module, *([adapters] if adapters else [])]), config.weight_decay)
    if config.optimizer == "adamw":
        return AdamW(groups, lr=config.learning_rate, betas=(config.momentum, 0.999), foreach=True)
    return SGD(groups, lr=config.learning_rate, momentum=config.momentum, nesterov=config.nesterov, foreach=True)


def averaging(decay: float) -> Callable[[Sequence[Tensor], Sequence[Tensor], object], None]:
    """How `AveragedModel` moves its tensors toward the trained ones at each step."""
    move: Callable[[Sequence[Tensor], Sequence[Tensor], object], None]
    move = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
    return move


def set_rate(optimizer: Optimizer, value: float) -> None:
    """Sets the learning rate of every group."""
    for group in optimizer.param_groups:
        group["lr"] = value


def rate(step: int, steps: int, config: TrainConfig, accuracies: Sequence[float] = ()) -> float:
    """Share of the peak learning rate at `step` of `steps`.

    torch's OneCycleLR divides by zero where the warm-up is one step long, and every schedule here is one formula, so
    a training that goes on after a kill needs to know nothing but the step and its history.

    Args:
        step: counted from 0.
        steps: in all.
        config: schedule and warm-up.
        accuracies: of the validation split, at each evaluation so far.
    """
    rising = config.warmup * steps
    if step < rising:
        if config.schedule == "onecycle":
            return _START + (1 - _START) * (1 - cos(pi * step / rising)) / 2
        return (step + 1) / (rising + 1)  # the first step would be lost at a rate of 0
    if config.schedule == "constant":
        return 1.0
    if config.schedule == "plateau":
        return config.factor ** plateaus(accuracies, config.patience)
    return (1 + cos(pi * min(1.0, (step - rising) / (steps - rising)))) / 2


def plateaus(accuracies: Sequence[float], patience: int) -> int:
    """How often `patience` evaluations in a row, and one more, had no new best; counted anew after each time."""
    best, waited, found = float("-inf"), 0, 0
    for accuracy in accuracies:
        if accuracy > best:
            best, waited = accuracy, 0
        else:
            waited += 1
        if waited > patience:
            waited, found = 0, found + 1
    return found
