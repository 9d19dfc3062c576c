"""Causes in plain words."""

from dataclasses import replace

import pytest
import torch

from paring.steps.quantize.causes import Facts, cause, decibels, output_facts, weight_facts

FINE = Facts(
    kind="depthwise", bits=8, granularity="channel", bounded=True, weight=45.0, activation=45.0, weight_channels=2.0,
    output_channels=2.0, worst_channel=3, tail=1.2, clipped=0.0,
)  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "why", "remedy"),
    [
        ({}, "nothing stands out", "quantize.qat"),
        ({"granularity": "tensor", "weight_channels": 40.0}, "channels differ 40-fold", "granularity: channel"),
        ({"clipped": 0.02}, "2 % of its values lie outside", "more calibration samples"),
        ({"weight": 12.0, "bits": 4}, "4 bits are few", "adaround"),
        ({"weight": 20.0}, "its weight loses most (20 dB)", "equalize"),
        ({"activation": 18.0, "output_channels": 12.0}, "outlier channel: 3 reaches 12 times", "equalize"),
        ({"activation": 18.0, "tail": 9.0}, "range too wide: 9 times", "percentile"),
        ({"activation": 18.0, "bounded": False}, "no activation bounds", "int16"),
    ],
)
def test_each_cause_is_named_with_what_to_try(changes: dict[str, object], why: str, remedy: str) -> None:
    found = cause(replace(FINE, **changes))  # type: ignore[arg-type]
    assert why in found[0]
    assert remedy in found[1]


def test_facts_of_an_output() -> None:
    values = torch.rand(4, 8, 5, 5, generator=torch.Generator().manual_seed(0))
    plain = output_facts(values, 0.0, 1.0, 1 / 255)
    assert plain["clipped"] == 0
    assert plain["tail"] == pytest.approx(1.0, abs=0.01)
    assert 45 < plain["activation"] < 60
    values[:, 5] *= 20
    outlier = output_facts(values, 0.0, 20.0, 20 / 255)
    assert outlier["worst_channel"] == 5
    assert outlier["output_channels"] == pytest.approx(20, rel=0.1)
    clipped = output_facts(values, 0.0, 1.0, 1 / 255)
    assert clipped["clipped"] == pytest.approx(1 / 8 * 0.95, abs=0.01)
    assert clipped["activation"] < 5


def test_facts_of_a_weight() -> None:
    weight = torch.ones(6, 4)
    weight[2] = 30.0
    found = weight_facts(weight, weight * 0.9, 0)
    assert found["weight_channels"] == pytest.approx(30)
    assert found["weight"] == pytest.approx(20.0, abs=1e-3)


def test_decibels_have_an_end() -> None:
    assert decibels(torch.ones(3), torch.ones(3)) == pytest.approx(120)
    assert decibels(torch.zeros(3), torch.ones(3)) == pytest.approx(-120)
