"""Factors beside their layer on the target."""

import torch
from torch import nn

from paring.core.errors import ParingError
from paring.core.step import Deployed
from paring.steps.factorize.low_rank.alone import Alone
from paring.steps.factorize.low_rank.candidates import Candidate
from paring.steps.factorize.low_rank.factors import filled
from paring.steps.factorize.low_rank.layers import Layer
from paring.steps.factorize.low_rank.metric import PLAIN
from paring.steps.factorize.low_rank.svd import Svd


def candidate(layer: nn.Module, shape) -> Candidate:
    return Candidate(Layer("layer", shapes=(shape,)), layer, Svd().split(layer, PLAIN, None), 8)


def told(alone: Alone, one: Candidate) -> str:
    return alone.slower(one, (8,), filled(one.split.factors((8,))))


def test_each_is_measured_once_and_alone():
    seen = []

    def deployed(model) -> Deployed:
        seen.append((model.inputs[0].sized(1), model.outputs[0].sized(1)))
        return Deployed(1.0 + isinstance(model.module, nn.Sequential), 0)

    alone = Alone(deployed)
    for _ in range(2):  # two layers of one shape
        assert told(alone, candidate(nn.Linear(32, 16), (1, 7, 32))) == (
            "its factors of rank 8 run slower on the target: 2 ms, itself 1 ms"
        )
    assert seen == [((1, 7, 32), (1, 7, 16))] * 2
    told(alone, candidate(nn.Linear(32, 16), (1, 8, 32)))
    assert len(seen) == 4


def test_what_is_as_fast_within_noise_is_taken():
    assert told(Alone(lambda model: Deployed(1.0 + 0.02 * isinstance(model.module, nn.Sequential), 0)),
                candidate(nn.Conv2d(32, 16, 3), (1, 32, 9, 9))) == ""  # fmt: skip


def test_what_cannot_be_measured_is_taken():
    def refuses(model) -> Deployed:
        raise ParingError("cannot", "there", "nothing")

    layer = candidate(nn.Linear(32, 16), (4, 32))
    assert told(Alone(refuses), layer) == told(Alone(None), layer) == ""
    table = candidate(nn.Embedding(100, 16), (1, 3))
    assert told(Alone(lambda model: Deployed(float(torch.inf), 0)), table) == ""
