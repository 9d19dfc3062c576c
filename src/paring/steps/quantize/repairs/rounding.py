"""A weight whose rounding, up or down, is learned.

Nagel et al. 2020, "Up or Down? Adaptive Rounding for Post-Training Quantization", arXiv:2004.10568, section 3.2:
W̃ = s · clip(⌊W / s⌋ + h(V), n, p) with the rectified sigmoid h of equation 23, and the regularizer of equation 24,
whose β falls from high to low so that h first moves freely and then goes to 0 or 1.
"""

import math

import torch
from torch import Tensor, nn

# the rectified sigmoid is stretched to (−0.1, 1.1) and cut off, so that it reaches 0 and 1
_LOW, _HIGH = -0.1, 1.1
_WARM = 0.2  # the share of the iterations without the regularizer
_BETA = (20.0, 2.0)


class Rounding(nn.Module):
    """Chooses between the two codes on both sides of each weight; what is 0, a step may have pruned, and it stays 0.

    Args:
        weight: float32, any shape; kept as `exact`.
        scale: of the weight, in a shape that broadcasts with it.
        smallest: of the codes.
        largest: likewise.
    """

    def __init__(self, weight: Tensor, scale: Tensor, smallest: int, largest: int) -> None:
        super().__init__()
        codes = (weight / scale).clamp(smallest, largest)
        self.exact, self.scale, self.smallest, self.largest = weight, scale, smallest, largest
        self.below = codes.floor().clamp(max=largest - 1)
        share = (codes - self.below - _LOW) / (_HIGH - _LOW)
        self.choice = nn.Parameter(torch.logit(share))
        self.zero = weight == 0

    def up(self) -> Tensor:
        """h(V), between 0 (down) and 1 (up)."""
        return (torch.sigmoid(self.choice) * (_HIGH - _LOW) + _LOW).clamp(0, 1).masked_fill(self.zero, 0.0)

    def weight(self, up: Tensor) -> Tensor:
        """The weight with every choice as far as it is made, `up` being what the method of that name gives."""
        return (self.below + up) * self.scale

    def final(self) -> Tensor:
        """The weight on its grid."""
        return (self.below + (self.up() >= 0.5)).detach() * self.scale


def undecided(up: Tensor, beta: float) -> Tensor:
    """1 − |2h − 1|^β of h = `up`: 0 where a choice is made."""
    return 1 - (2 * up - 1).abs().pow(beta)


def beta_at(iteration: int, iterations: int) -> float | None:
    """The regularizer's exponent, falling along a cosine; None while it is not yet used."""
    start = _WARM * iterations
    if iteration < start:
        return None
    done = (iteration - start) / max(1.0, iterations - start)
    high, low = _BETA
    return low + 0.5 * (high - low) * (1 + math.cos(math.pi * done))
