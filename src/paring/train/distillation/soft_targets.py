"""Soft targets: Hinton et al. 2015, "Distilling the Knowledge in a Neural Network", arXiv:1503.02531, section 2."""

from torch import Tensor
from torch.nn.functional import kl_div, log_softmax


def soft_targets(learned: Tensor, taught: Tensor, temperature: float) -> Tensor:
    """T² · KL(softmax(taught / T) ‖ softmax(learned / T)), the mean over a batch, a scalar.

    The factor T² keeps its gradient comparable with that of the loss for the labels, whatever T is.

    Args:
        learned: logits of the student, float, shape (batch, classes).
        taught: of the teacher, likewise.
        temperature: T.
    """
    logs = log_softmax(learned / temperature, -1), log_softmax(taught / temperature, -1)
    return kl_div(*logs, reduction="batchmean", log_target=True) * temperature**2
