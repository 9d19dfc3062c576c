import json
from dataclasses import replace

import pytest

from paring.report import Report
from paring.report.plots import COLOURS, figures, shown


def points(figure):
    return {trace["text"][0]: (trace["x"][0], trace["y"][0]) for trace in figure["data"]}


def test_every_stage_with_both_numbers_is_a_point(report):
    size, latency = figures(report)
    assert points(size) == {
        "baseline": (2_913_840 / 2**20, 92.41),
        "01": (1_412_840 / 2**20, 92.02),
        "litert": (391_168 / 2**20, 91.66),
    }
    assert points(latency) == {"baseline": (3.412, 92.41), "01": (1.934, 92.02), "litert": (0.8412, 91.66)}
    assert size["layout"]["xaxis"]["title"]["text"] == "size, MiB"
    assert latency["layout"]["xaxis"]["title"]["text"] == "latency, ms"


def test_spreads_are_error_bars_and_missing_ones_are_not(report):
    size, latency = figures(report)
    assert size["data"][0]["error_y"]["array"] == [0.56]
    assert size["data"][0]["error_x"] == {"visible": False}
    assert latency["data"][0]["error_x"]["array"] == [0.031]


def test_a_stage_has_its_own_colour_in_both(report):
    for figure in figures(report):
        assert [trace["marker"]["color"] for trace in figure["data"]] == [COLOURS[0], COLOURS[1], COLOURS[3]]


@pytest.mark.parametrize(("size", "unit"), [(900, "bytes"), (90_000, "KiB"), (9_000_000, "MiB")])
def test_the_axis_has_a_unit_that_fits(report, size, unit):
    records = tuple(replace(r, value=size) if r.metric == "size" else r for r in report.records)
    assert figures(replace(report, records=records))[0]["layout"]["xaxis"]["title"]["text"] == f"size, {unit}"


def test_accuracy_comes_from_the_same_device_if_it_can(report):
    other = [
        replace(report.find("baseline", metric)[0], value=value, device="ONNX Runtime")
        for metric, value in (("accuracy", 80.0), ("latency", 9.0))
    ]
    latency = figures(replace(report, records=(*report.records, *other)))[1]
    assert [(trace["x"][0], trace["y"][0]) for trace in latency["data"]][:2] == [(3.412, 92.41), (9.0, 80.0)]


def test_without_points_there_is_no_figure(report):
    assert figures(Report(name="r", created="", paring="")) == []
    accuracies = tuple(record for record in report.records if record.metric == "accuracy")
    assert figures(replace(report, records=accuracies)) == []


def test_the_legend_has_the_stages_that_are_drawn(report):
    assert [stage.name for stage in report.stages if shown(report, stage)] == [
        "baseline", "01-prune.channels", "artifact:litert",
    ]  # fmt: skip


def test_figures_are_plain_data_and_texts_are_escaped(hostile):
    written = json.dumps(figures(hostile))
    assert "<br>" in written
    assert "<script" not in written
    assert "<img" not in written
