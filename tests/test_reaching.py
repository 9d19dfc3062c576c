"""Files on a device are fed and read as on this machine."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from typer.testing import CliRunner

import paring
from paring import reaching
from paring.cli import app
from paring.cli.options import cores
from paring.core.record import Origin, Record
from paring.reaching import Place
from paring.targets.litert.runner import LiteRTRunner
from paring.testing.reaches import IMAGES, here

FILES = Path(__file__).parent / "devices" / "files"


def test_answers_are_those_of_the_runner_here() -> None:
    found = reaching.answers(FILES / "int8.tflite", {"image": IMAGES}, "local")
    np.testing.assert_array_equal(found["output"], here(LiteRTRunner(FILES / "int8.tflite")))


def test_records_tell_where_they_were_measured() -> None:
    files = [FILES / "float.tflite", FILES / "int8.tflite"]
    records = paring.bench(files, seconds=0.05, on="local")
    assert [(r.stage, r.metric) for r in records] == [
        (str(files[0]), "latency"),
        (str(files[1]), "latency"),
        (str(files[1]), "latency_ratio"),
        (str(files[0]), "peak_memory"),
        (str(files[1]), "peak_memory"),
        (str(files[0]), "size"),
        (str(files[0]), "zipped_size"),
        (str(files[1]), "size"),
        (str(files[1]), "zipped_size"),
    ]
    assert all(record.origin is Origin.MEASURED for record in records)
    assert records[0].source == "on local"
    assert "LiteRT" in records[0].device


def test_the_command_prints_what_the_device_measured() -> None:
    command = ["bench", str(FILES / "int8.tflite"), "--seconds", "0.1", "--on", "local", "--threads", "1"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0
    assert "latency" in done.output
    assert "1 thread" in done.output


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--on", "telnet://there"], "no way to reach a device is called 'telnet'"),
        (["--on", "adb:x", "--identity", "key"], "--identity is of ssh alone"),
        (["--on", "local", "--cores", "3-"], "names no cores"),
        (["--python", "/nowhere/python"], "Python could not be started"),
    ],
)
def test_what_cannot_be_reached_is_told(arguments: list[str], problem: str) -> None:
    done = CliRunner().invoke(app, ["bench", str(FILES / "int8.tflite"), *arguments])
    assert isinstance(done.exception, paring.ParingError)
    assert problem in done.exception.problem


def test_cores_are_numbers_and_ranges() -> None:
    assert cores("0-3,6") == (0, 1, 2, 3, 6)
    assert cores("2") == (2,)
    assert cores("") == ()


@pytest.fixture
def recipe() -> dict[str, object]:
    return {
        "version": 1,
        "model": "torch:paring.testing.networks:TinyNetwork",
        "data": "python:paring.testing.models:TinyTask",
        "targets": ["litert"],
        "steps": [{"prune.channels": {"latency": "0.98x", "round_to": 1, "samples": 8}}],
        "require": {"latency": "1 s", "peak_memory": "2 GB"},
    }


class Watched(Place):
    """A place that tells what it was asked for."""

    asked: ClassVar[list[list[str]]] = []

    def bench(self, files: Mapping[str, Path], *, threads: int = 1, seconds: float = 4.0) -> list[Record]:
        self.asked.append(list(files))
        found = super().bench(files, threads=threads, seconds=0.05)
        if "first" not in files:
            return found
        # the model before the step and a candidate: the smaller, the faster
        return [replace(one, value=float(files[one.stage].stat().st_size)) for one in found]


def test_a_run_is_measured_and_judged_on_the_device(
    recipe: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("paring.api.Place", Watched)
    result = paring.compress(recipe, out=tmp_path / "run", on="local")
    assert Watched.asked[-1] == ["baseline", "artifact:litert"]
    assert {tuple(files) for files in Watched.asked[:-1]} == {("first",), ("first", "this")}  # what the step timed
    found = [r for r in result.report.records if r.metric in ("latency", "peak_memory")]
    assert {(r.stage, r.source) for r in found} == {("baseline", "on local"), ("artifact:litert", "on local")}
    assert {one.name for one in result.report.requirements} == {"latency", "peak_memory"}
    times = len(Watched.asked)
    paring.compress(recipe, out=tmp_path / "run", on="local")  # nothing is measured again
    assert len(Watched.asked) == times


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"measure": {"serving": True}}, "serving is measured on this machine alone"),
        ({}, "and require.latency would be judged by them"),
        ({"require": {}}, "and prune.channels would be judged by them"),
    ],
)
def test_what_a_device_cannot_measure_is_told_before_any_work(
    recipe: dict[str, object], changes: dict[str, object], problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Place, "emulated", lambda self: True)
    with pytest.raises(paring.ParingError, match=problem):
        paring.compress({**recipe, **changes}, out=tmp_path / "run", on="local")
    assert not (tmp_path / "run").exists()


def test_a_run_on_a_device_out_of_reach_does_not_begin(recipe: dict[str, object], tmp_path: Path) -> None:
    with pytest.raises(paring.ParingError, match="no way to reach a device"):
        paring.compress(recipe, out=tmp_path / "run", on="telnet://there")
    assert not (tmp_path / "run" / "steps").exists()
