from math import inf, nan

import pytest

from paring.core.record import Origin, Record
from paring.report.document import Report, Requirement, Stage, is_guess, is_slower, on_device


def ratio(value, spread=None):
    return Record(
        stage="artifact:litert", metric="latency_ratio", value=value, unit="1", spread=spread, device="d", source="s"
    )


def stages(*names):
    return Report(name="r", created="", paring="", stages=tuple(Stage(name=name, title=name) for name in names))


@pytest.mark.parametrize(
    ("names", "result"),
    [
        (("baseline", "01-a", "02-b", "artifact:x", "artifact:y"), "artifact:x"),
        (("baseline", "01-a", "02-b"), "02-b"),
    ],
)
def test_the_result_is_the_first_artifact_or_else_the_last_step(names, result):
    assert stages(*names).result.name == result


@pytest.mark.parametrize("names", [(), ("baseline",)])
def test_a_baseline_alone_is_no_result(names):
    assert stages(*names).result is None


def test_find_gives_every_record_of_a_metric_in_order(report):
    found = report.find("01-prune.channels", "latency")
    assert [record.value for record in found] == [1.934]
    assert report.find("02-quantize.static", "latency") == ()


@pytest.mark.parametrize(
    ("value", "limit", "met", "bound"),
    [
        (1, 2, True, "at most"),
        (3, 2, False, "at most"),
        (3, 2, True, "at least"),
        (1, 2, False, "at least"),
    ],
)
def test_the_verdict_tells_the_side_of_the_limit(value, limit, met, bound):
    assert Requirement(name="r", limit=limit, unit="ms", value=value, met=met).bound == bound


@pytest.mark.parametrize("number", [nan, inf])
@pytest.mark.parametrize("key", ["limit", "value", "shortfall"])
def test_a_requirement_is_made_of_numbers(key, number):
    with pytest.raises(ValueError, match="not a number"):
        Requirement(**{"name": "r", "limit": 1, "unit": "ms", "value": 1, "met": True, key: number})


def test_slower_means_by_more_than_the_spread():
    assert is_slower(ratio(1.2))
    assert is_slower(ratio(1.2, 0.1))
    assert not is_slower(ratio(1.2, 0.3))
    assert not is_slower(ratio(0.9))


def test_only_what_could_be_measured_is_a_guess():
    def made(unit, origin):
        return Record(stage="s", metric="m", value=1, unit=unit, device="d", origin=origin, source="s")

    assert is_guess(made("ms", Origin.ESTIMATED))
    assert is_guess(made("ms", Origin.PUBLISHED))
    assert not is_guess(made("ms", Origin.MEASURED))
    assert not is_guess(made("1", Origin.ESTIMATED))


def test_a_size_depends_on_no_device():
    def on(device):
        return Record(stage="s", metric="size", value=1, unit="bytes", device=device, source="s")

    assert on_device(on("a CPU · LiteRT"))
    assert not on_device(on("none"))
