"""Random networks, always valid, as data: what looks for the next fault of a step, a converter or a runtime.

In the manner of NNSmith (Liu et al. 2023, arXiv:2207.13066): operators are drawn one after the other, each for values
that the ones before gave; Hypothesis draws, and shrinks what fails.
"""

from paring.testing.random_networks.network import Plan, model, network, plans, seen
from paring.testing.random_networks.trial import Outcome, trials

__all__ = ["Outcome", "Plan", "model", "network", "plans", "seen", "trials"]
