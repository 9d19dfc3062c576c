"""Commands parse, call the API and print; an error the user can mend exits with 2."""

import io
import json
import os
import subprocess
import sys
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from paring.cli import main

MODEL, DATA = "torch:paring.testing.networks:tiny_network", "python:paring.testing.models:TinyTask"
RECIPE = f"""\
version: 1
model: {MODEL}
data: {DATA}
steps:
  - quantize.static: {{calibration: {{samples: 64}}}}
require: {{size: 1 MB}}
"""


def run(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """In this process: imports are paid once."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    with pytest.MonkeyPatch.context() as patch, chdir(cwd), redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "argv", ["paring", *map(str, arguments)])
        patch.setenv("COLUMNS", "80")
        try:
            main()
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 0
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())


def start(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """In a process of its own, as a user does."""
    command = [sys.executable, "-c", "from paring.cli import main; main()", *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, cwd=cwd, check=False, env={**os.environ, "COLUMNS": "80"}
    )


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a recipe that has been run."""
    place = tmp_path_factory.mktemp("place")
    (place / "recipe.yaml").write_text(RECIPE)
    done = start("compress", "recipe.yaml", cwd=place)
    assert done.returncode == 0, done.stderr
    assert "artifact:litert" in done.stdout
    assert "runs/recipe/report.html" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "Traceback" not in done.stderr
    return place


def test_the_report_is_shown_again(place: Path) -> None:
    done = run("report", "runs/recipe", "--html", "copy.html", cwd=place)
    assert done.returncode == 0
    assert "artifact:litert" in done.stdout
    assert (place / "copy.html").read_text().startswith("<!")


def test_artifacts_are_evaluated_and_timed(place: Path) -> None:
    artifact = "runs/recipe/artifacts/litert/model.tflite"
    done = run("evaluate", artifact, "--data", DATA, cwd=place)
    assert done.returncode == 0, done.stderr
    assert "48 test samples" in done.stdout
    done = run("bench", artifact, artifact, "--seconds", "0.2", cwd=place)
    assert done.returncode == 0, done.stderr
    assert "LiteRT" in done.stdout


def test_models_are_checked_and_inspected(place: Path) -> None:
    done = run("check", MODEL, "--target", "litert", "--shape", "1,8,8", cwd=place)
    assert (done.returncode, "can run" in done.stdout) == (0, True)
    done = run("check", "torch:paring.testing.networks:StrangeNetwork", "--shape", "1,8,8", cwd=place)
    assert (done.returncode, done.stdout.count("LiteRT has no lowering")) == (1, 2)
    done = run("inspect", MODEL, "--data", DATA, cwd=place)
    assert done.returncode == 0, done.stderr
    assert "338" in done.stdout
    done = run("inspect", "runs/recipe/steps/01-quantize.static", cwd=place)
    assert done.returncode == 0, done.stderr
    assert "4 layers to int8" in done.stdout
    done = run("inspect", "runs/recipe/artifacts/litert/model.tflite", cwd=place)
    assert done.returncode == 0, done.stderr
    assert "FULLY_CONNECTED" in done.stdout
    done = run("inspect", MODEL, "--shape", "image=1,8,8", "--json", cwd=place)
    assert json.loads(done.stdout)["parameters"] == 338
    done = run("inspect", MODEL, "--shape", "image=1,8,8:float31", cwd=place)
    assert (done.returncode, "describes no input" in done.stderr) == (2, True)


def test_steps_and_recipes_are_listed(place: Path) -> None:
    done = run("steps", cwd=place)
    assert done.returncode == 0, done.stderr
    assert "prune.channels" in done.stdout
    assert "recovery never after quantization: it trains weights" in done.stdout
    assert max(len(line) for line in done.stdout.splitlines() if "never after" not in line) <= 80
    done = run("steps", "quantize.static", "--json", cwd=place)
    (step,) = json.loads(done.stdout)["steps"]
    assert {one["name"]: one["default"] for one in step["options"]}["calibration.samples"] == "256"
    done = run("recipes", cwd=place)
    assert [line.split()[0] for line in done.stdout.splitlines()][:3] == ["gentle", "balanced", "small"]
    done = run("recipes", "gentle", cwd=place)
    (place / "mine.yaml").write_text(done.stdout.replace("samples: 256", "samples: 64").replace("300", "5"))
    done = run("compress", "mine.yaml", "--model", MODEL, "--data", DATA, cwd=place)
    assert done.returncode in {0, 1}, done.stderr  # whether so small a network keeps to half a point is left to chance
    assert (place / "runs/mine/artifacts/litert/model.tflite").is_file()


def test_a_model_is_trained(place: Path) -> None:
    done = run(
        "train", "zoo:resnet8", "--data", "digits(size=16)", "--out", "net", "--epochs", 1, "--form=x", cwd=place
    )
    assert (done.returncode, "no option is called 'form'" in done.stderr) == (2, True)
    done = run(
        "train", MODEL, "--data", DATA, "--out", "checkpoints/net", "--epochs", 1, "--batch-size", 16,
        "--config", "optimizer=adamw", cwd=place,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "accuracy:" in done.stdout
    notes = json.loads((place / "checkpoints" / "net.json").read_text())["notes"]
    assert notes["config"]["optimizer"] == "adamw"
    assert notes["command"].startswith("paring train torch:")


@pytest.mark.slow  # it imports every package and goes through every target
def test_the_doctor_finds_this_installation_well(place: Path) -> None:
    done = run("doctor", cwd=place)
    assert done.returncode == 0, done.stdout
    assert "exports and runs" in done.stdout


def test_a_budget_that_is_missed_exits_with_1_and_keeps_the_result(place: Path) -> None:
    (place / "tight.yaml").write_text(RECIPE.replace("1 MB", "1 KiB"))
    done = run("compress", "tight.yaml", "--out", "runs/recipe", "--seed", 0, cwd=place)
    assert done.returncode == 1, done.stderr
    assert (place / "runs/recipe/artifacts/litert/model.tflite").is_file()


@pytest.mark.parametrize("limit", [2_000, 200_000])
def test_no_space_on_the_disk_is_told_and_leaves_nothing_half_written(place: Path, tmp_path: Path, limit: int) -> None:
    """A limit on the size of files stands for the full disk: early, at the first answers, or late, at the report."""
    code = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))\n"
    code += "from paring.cli import main; main()"
    command = [sys.executable, "-c", code, "compress", str(place / "recipe.yaml"), "--out", str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert "file too large" in done.stderr
    assert "free space" in done.stderr
    assert "Traceback" not in done.stderr
    left = [path.name for path in tmp_path.rglob("*") if path.name.startswith((".tmp", ".old"))]
    assert not left
    whole = [path.name for path in tmp_path.rglob("key.json")]
    assert bool(whole) == (limit > 100_000)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["compress", "none.yaml"], ["none.yaml", "No such file"]),
        (["compress", "smal", "--model", MODEL], ["smal", "balanced, small"]),
        (["compress", "small"], ["small", "give --model"]),
        (["recipes", "smal"], ["did you mean 'small'?"]),
        (["steps", "prune.chanels"], ["did you mean 'prune.channels'?"]),
        (["compress", "typo.yaml"], ["typo.yaml, line 4", "'stps'", "did you mean 'steps'?"]),
        (["check", "zoo:mobilenet_v3"], ["mobilenet_v3", "did you mean 'mobilenet_v2'?"]),
        (["check", MODEL, "--shape", "1;8"], ["--shape", "3,224,224"]),
        (["check", MODEL, "--shape", "1,8,8", "--target", "tflite"], ["no target is called 'tflite'"]),
        (["inspect", "bad.tflite", "--shape", "1,8,8"], ["bad.tflite", "leave the options out"]),
        (["evaluate", "none.tflite", "--data", DATA], ["none.tflite", "no such file"]),
        (["evaluate", "bad.tflite", "--data", DATA], ["bad.tflite", "not a .tflite file"]),
        (["report", "."], ["report.json"]),
        (["train", MODEL, "--data", DATA, "--out", "x", "--config", "epocs=1"], ["'epocs'", "'epochs'"]),
        (["train", MODEL, "--data", DATA, "--out", "x", "stray"], ["'stray' is not an option"]),
    ],
)
def test_errors_say_problem_place_and_remedy_and_exit_with_2(
    place: Path, arguments: list[str], told: list[str]
) -> None:
    (place / "typo.yaml").write_text(RECIPE.replace("steps:", "stps:"))
    (place / "bad.tflite").write_bytes(b"no model")
    done = run(*arguments, cwd=place)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "try: " in done.stderr
    for part in told:
        assert part in done.stderr
