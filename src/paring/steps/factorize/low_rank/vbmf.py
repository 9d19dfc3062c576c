"""How many singular values of a matrix are more than noise.

Nakajima et al. 2013, "Global Analytic Solution of Fully-observed Variational Bayesian Matrix Factorization", JMLR 14:
empirical variational Bayes. A singular value γ is signal where γ² > M σ² (1 + τ̲)(1 + α / τ̲), with α = L / M for a
matrix of L ≤ M, and σ² is the noise variance of least free energy, a search in one dimension. Networks take their ranks
from it since Kim et al. 2016, arXiv:1511.06530, section 3.2.
"""

from math import sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

_TAU = 2.5129  # the threshold τ̲ is about this times √α


def rank(matrix: NDArray[np.float64]) -> int:
    """The rank of the empirical variational Bayes estimate; 0 where all of it is noise."""
    short, long = sorted(matrix.shape)
    if not short or not np.any(matrix):
        return 0
    values = np.linalg.svd(matrix, compute_uv=False)
    alpha = short / long
    tau = _TAU * sqrt(alpha)
    threshold = (1 + tau) * (1 + alpha / tau)  # x̲: of a squared singular value over long · σ²
    energy = float(np.square(values).sum())
    # σ² lies between the mean of what is too small to be signal at the most possible rank and the mean of all
    least = min(int(np.ceil(short / (1 + alpha))), short) - 1
    tail = np.square(values[least:])
    low = max(float(tail[0]) / (long * threshold), float(tail.mean()) / long, 1e-12 * energy / (short * long))
    high = energy / (short * long)
    if low >= high:
        return int((np.square(values) > long * threshold * high).sum())
    found = minimize_scalar(
        lambda log: _free_energy(np.square(values) / (long * np.exp(log)), alpha, threshold),
        bounds=(np.log(low), np.log(high)), method="bounded", options={"xatol": 1e-6},
    )  # fmt: skip
    return int((np.square(values) > long * threshold * np.exp(found.x)).sum())


def _free_energy(x: NDArray[np.float64], alpha: float, threshold: float) -> float:
    """Ω(σ⁻²) but for constants: Σ ψ₀(x) + Σ_{x > x̲} ψ₁(x), with ψ₀(x) = x − ln x."""
    signal = x[x > threshold]
    half = signal - (1 + alpha)
    tau = 0.5 * (half + np.sqrt(np.maximum(half**2 - 4 * alpha, 0)))
    psi0 = float((x - np.log(np.maximum(x, 1e-300))).sum())
    psi1 = float((np.log1p(tau) + alpha * np.log1p(tau / alpha) - tau).sum())
    return psi0 + psi1
