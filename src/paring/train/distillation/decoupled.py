"""Decoupled distillation: Zhao et al. 2022, "Decoupled Knowledge Distillation", arXiv:2203.08679, equations 4 to 7."""

import torch
from torch import Tensor
from torch.nn.functional import kl_div, log_softmax, logsigmoid


def decoupled(
    learned: Tensor, taught: Tensor, targets: Tensor, temperature: float, alpha: float, beta: float
) -> Tensor:
    """T² · (α · KL over {target, not target} + β · KL among the other classes), the mean over a batch, a scalar.

    With β = 1 − p(target) of the teacher it would be the loss of soft targets; set free, what the teacher knows of the
    other classes is not drowned by its confidence.

    Args:
        learned: logits of the student, float, shape (batch, classes).
        taught: of the teacher, likewise.
        targets: int64, shape (batch,).
        temperature: T.
        alpha: α.
        beta: β.
    """
    own = torch.nn.functional.one_hot(targets, learned.shape[1]).bool()
    learned, taught = learned / temperature, taught / temperature
    binary = kl_div(_binary(learned, own), _binary(taught, own), reduction="batchmean", log_target=True)
    if learned.shape[1] == 2:  # a single other class has nothing to be told from
        return alpha * binary * temperature**2
    others = learned[~own].view(len(learned), -1), taught[~own].view(len(taught), -1)
    among = kl_div(log_softmax(others[0], -1), log_softmax(others[1], -1), reduction="batchmean", log_target=True)
    return (alpha * binary + beta * among) * temperature**2


def _binary(logits: Tensor, own: Tensor) -> Tensor:
    """Logarithms of p(target) and p(not target), shape (batch, 2)."""
    odds = logits[own] - logits.masked_fill(own, -torch.inf).logsumexp(1)
    return torch.stack([logsigmoid(odds), logsigmoid(-odds)], 1)
