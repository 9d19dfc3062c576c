"""Serving facts come from fresh processes and from the runner itself."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from paring.core.record import Record
from paring.measure import fresh
from paring.measure.serving import serving
from paring.targets.litert import LiteRT
from paring.testing.models import tiny


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Record]]:
    path = LiteRT().export(tiny(), tmp_path_factory.mktemp("serving") / "m.tflite")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("paring.measure.serving._SECONDS", 0.02)
        yield {one.metric: one for one in serving(LiteRT(), path, "artifact:litert", starts=2, batches=(1, 4))}


def test_every_fact_is_there_with_its_unit(records: dict[str, Record]) -> None:
    cores = len(os.sched_getaffinity(0))
    wanted = {"cold_start", "first_inference", "latency_1_thread", "sample_time_in_1", "sample_time_in_4"}
    assert wanted | ({f"latency_{cores}_threads"} if cores > 1 else set()) <= set(records)
    assert {one.unit for one in records.values()} == {"ms"}
    assert all(one.value > 0 and one.spread is not None for one in records.values())


def test_loading_is_part_of_a_cold_start(records: dict[str, Record]) -> None:
    assert records["cold_start"].value > records["first_inference"].value
    assert records["cold_start"].samples == 2


def test_the_device_tells_how_many_threads(records: dict[str, Record]) -> None:
    assert records["latency_1_thread"].device.endswith(" 1 thread")
    for metric, one in records.items():
        if metric.endswith("_threads"):
            assert one.device.endswith(f" {metric.split('_')[1]} threads")


def test_a_start_is_that_of_another_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = LiteRT().export(tiny(), tmp_path / "m.tflite")
    monkeypatch.setattr(LiteRT, "open", None)  # of this process: no other one notices
    cold, first = fresh.start("paring.targets.litert:LiteRT", path)
    assert cold > first > 0
