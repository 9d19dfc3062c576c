"""Files on a device are fed and read as on this machine."""

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import paring
from paring import reaching
from paring.cli import app
from paring.cli.options import cores
from paring.core.record import Origin
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
    assert records[0].source == "paring bench --on local"
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
