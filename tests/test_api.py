"""The way of the data, whole, on small models and the real runtime."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import zlib
from pathlib import Path
from typing import Any

import pytest
import torch

import paring
from paring import load, report, reporting
from paring.core.errors import Busy, ParingError, UnknownName
from paring.core.record import Origin, Record
from paring.core.rundir import RunDirectory
from paring.core.target import Target
from paring.core.task import Split
from paring.inspection import ArtifactInspection, Inspection
from paring.load import saved
from paring.load import weights as tensors_on_disk
from paring.measure.serving import serving
from paring.recipes.recipe import Recipe
from paring.steps.finetune import Finetune
from paring.steps.quantize.static import QuantizeStatic
from paring.targets import TARGETS
from paring.testing.elsewhere import REASON
from paring.testing.models import TinyTask, tiny

RECIPE: dict[str, Any] = {
    "version": 1,
    "model": "torch:paring.testing.networks:tiny_network",
    "data": "python:paring.testing.models:TinyTask",
    "steps": [
        {"finetune": {"epochs": 2, "batch_size": 16, "learning_rate": 0.05}},
        {"quantize.static": {"calibration": {"samples": 64}}},
    ],
    "require": {"accuracy_drop": "20 pt", "size": "1 MB", "latency": "10 s"},
}


def recipe(**changes: Any) -> dict[str, Any]:
    return {**RECIPE, **changes}


def stable(result: paring.Result) -> list[Any]:
    """The records that do not depend on the machine's mood."""
    kept = {"accuracy", "size", "parameters", "macs", "agreement", "sqnr", "baseline_agreement", "baseline_sqnr"}
    return [record for record in result.report.records if record.metric in kept]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> paring.Result:
    return paring.compress(recipe(), out=tmp_path_factory.mktemp("runs") / "whole")


def test_every_stage_has_its_numbers(finished: paring.Result) -> None:
    found = {(record.stage, record.metric): record for record in finished.report.records}
    for stage in ("baseline", "01-finetune", "02-quantize.static", "artifact:litert"):
        assert found[stage, "accuracy"].unit == "%"
        assert found[stage, "accuracy"].samples == 48
    for stage in ("baseline", "01-finetune", "artifact:litert"):
        assert found[stage, "latency"].unit == "ms"
        assert {found[stage, metric].unit for metric in ("size", "zipped_size", "peak_memory")} == {"bytes"}
        assert found[stage, "agreement"].value > 90
    assert found["artifact:litert", "size"].value == finished.artifacts["litert"].stat().st_size
    zipped = zlib.compress(finished.artifacts["litert"].read_bytes(), 9)
    assert found["artifact:litert", "zipped_size"].value == len(zipped)
    assert found["artifact:litert", "sqnr"].unit == "dB"
    assert found["baseline", "parameters"].value == found["01-finetune", "parameters"].value == 338
    assert found["baseline", "macs"].value > 0
    assert ("artifact:litert", "latency_ratio") in found


def test_the_folder_holds_everything(finished: paring.Result) -> None:
    for name in (
        "recipe.yaml",
        "report.json",
        "report.html",
        "log.jsonl",
        "steps/01-finetune/model.safetensors",
        "steps/02-quantize.static/model.json",
        "artifacts/litert/model.tflite",
        "artifacts/baseline.litert/model.tflite",
        "artifacts/01-finetune.litert/model.tflite",
    ):
        assert (finished.path / name).is_file(), name
    assert report.read_json(finished.path / "report.json").records == finished.report.records
    assert all(json.loads(line)["time"] for line in (finished.path / "log.jsonl").read_text().splitlines())


def test_budgets_are_judged(finished: paring.Result) -> None:
    assert finished.met
    assert {r.name for r in finished.report.requirements} == {"accuracy_drop", "size", "latency"}


def test_the_steps_are_told(finished: paring.Result) -> None:
    titles = [stage.name for stage in finished.report.stages]
    assert titles == ["baseline", "01-finetune", "02-quantize.static", "artifact:litert"]
    assert "4 layers to int8" in finished.report.stages[2].changed
    assert [dict(stage.invariants) for stage in finished.report.stages] == [{}, {}, {"scale": 4}, {}]


@pytest.fixture
def _elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("absent", "estimated", "untimed"):
        monkeypatch.setitem(TARGETS._entries, name, f"paring.testing.elsewhere:{name.title()}")


@pytest.mark.usefixtures("_elsewhere")
def test_what_cannot_run_or_be_timed_here_is_told_and_estimated(tmp_path: Path) -> None:
    steps = [{"quantize.static": {"calibration": {"samples": 64}}}]
    given = recipe(targets=["estimated", "untimed"], steps=steps, measure={"stages": "ends"})
    result = paring.compress(given, out=tmp_path / "run")
    told = {(r.stage, r.metric): r for r in result.report.records}
    assert told["artifact:estimated", "latency"].origin is Origin.ESTIMATED
    assert ("artifact:estimated", "size") in told
    assert not {("artifact:estimated", metric) for metric in ("accuracy", "agreement", "peak_memory")} & set(told)
    assert ("artifact:untimed", "accuracy") in told
    assert not {("artifact:untimed", metric) for metric in ("latency", "peak_memory")} & set(told)
    verdicts = {one.name: one.value for one in result.report.requirements}
    assert verdicts["latency"] == 3.0
    notes = " ".join(result.report.notes)
    assert f"estimated file was not run: {REASON}" in notes
    assert f"untimed file was run, but not timed: {REASON}" in notes
    assert "latency of the untimed file: not judged" in notes


def test_targets_that_take_int8_alone(tmp_path: Path) -> None:
    steps = [{"quantize.static": {"calibration": {"samples": 64}}}]
    given = recipe(targets=["micro", "edgetpu", {"ethosu": {"accelerator": "ethos-u55-64"}}], steps=steps)
    result = paring.compress(given, out=tmp_path / "run")
    assert set(result.artifacts) == {"micro", "edgetpu", "ethosu"}
    assert not list((result.path / "artifacts").glob("baseline*"))  # which is float
    told = {(r.stage, r.metric): r for r in result.report.records}
    assert {target for target in ("micro", "edgetpu", "ethosu") if (f"artifact:{target}", "accuracy") in told} == {
        "micro",
        "edgetpu",
    }
    assert told["artifact:ethosu", "latency"].device.startswith("ethos-u55-64")
    assert [one.value for one in result.report.requirements if one.name == "latency"] == [
        told["artifact:ethosu", "latency"].value
    ]
    assert "latency of the micro file: not judged" in " ".join(result.report.notes)
    files = {stage.name: [Path(file).name for file in stage.files] for stage in result.report.stages}
    assert files["artifact:micro"] == ["model.micro.tflite", "model.cc", "model.h"]


def test_they_ask_for_a_step_that_quantizes(tmp_path: Path) -> None:
    with pytest.raises(ParingError, match=r"micro runs models that are quantized .*\n.*add quantize\.static"):
        paring.compress(recipe(targets=["micro"], steps=[], require={}), out=tmp_path / "run")
    steps = [{"quantize.static": {"calibration": {"samples": 64}, "keep_float": ["classifier"]}}]
    with pytest.raises(ParingError, match="integers alone"):
        paring.compress(recipe(targets=["micro"], steps=steps, require={}), out=tmp_path / "run")


@pytest.mark.usefixtures("_elsewhere")
def test_the_model_is_judged_where_no_file_runs(tmp_path: Path) -> None:
    given = recipe(targets=["absent"], steps=[], require={"accuracy_drop": "1 pt"})
    result = paring.compress(given, out=tmp_path / "run")
    assert [(one.name, one.value) for one in result.report.requirements] == [("accuracy_drop", 0.0)]


@pytest.mark.usefixtures("_elsewhere")
def test_a_budget_that_nothing_can_judge_is_refused(tmp_path: Path) -> None:
    for target in ("absent", "micro", "edgetpu"):  # the last two tell memory, and no time
        with pytest.raises(ParingError, match="latency cannot be judged"):
            paring.compress(recipe(targets=[target]), out=tmp_path / "run")
    assert not (tmp_path / "run" / "report.json").exists()


def test_the_written_recipe_gives_the_same_result(finished: paring.Result, tmp_path: Path) -> None:
    again = paring.compress(finished.path / "recipe.yaml", out=tmp_path / "again")
    assert stable(again) == stable(finished)
    assert again.artifacts["litert"].read_bytes() == finished.artifacts["litert"].read_bytes()


def test_a_second_run_repeats_nothing(finished: paring.Result) -> None:
    before = (finished.path / "log.jsonl").read_text().count('"finished"')
    again = paring.compress(recipe(), out=finished.path)
    assert (finished.path / "log.jsonl").read_text().count('"finished"') == before
    assert again.report.records == finished.report.records
    assert all(stage.cached for stage in again.report.stages)
    assert [s.invariants for s in again.report.stages] == [s.invariants for s in finished.report.stages]


def test_a_changed_recipe_reuses_its_unchanged_prefix(finished: paring.Result, tmp_path: Path) -> None:
    run = shutil.copytree(finished.path, tmp_path / "run")
    changed = recipe(steps=[RECIPE["steps"][0], {"quantize.static": {"calibration": {"samples": 32}}}])
    again = paring.compress(changed, out=run)
    assert [stage.cached for stage in again.report.stages] == [True, True, False, False]


def test_a_budget_that_is_missed_leaves_the_result_and_says_by_how_much(tmp_path: Path) -> None:
    missed = paring.compress(recipe(require={"size": "1 KiB"}, steps=[]), out=tmp_path / "run")
    (verdict,) = missed.report.requirements
    assert not missed.met
    assert verdict.shortfall == missed.artifacts["litert"].stat().st_size - 1024


def test_ends_only_leaves_out_the_stages_between(tmp_path: Path) -> None:
    found = paring.compress(recipe(measure={"stages": "ends", "test_samples": 20}), out=tmp_path / "run")
    assert not (tmp_path / "run" / "artifacts" / "01-finetune.litert").exists()
    assert any("first 20 test samples" in note for note in found.report.notes)
    assert found.report.find("artifact:litert", "accuracy")[0].samples == 20


def test_a_sparse_stage_that_is_no_faster_is_told() -> None:
    def told(steps: list[str], *latencies: tuple[str, float]) -> list[str]:
        wanted = Recipe.model_validate(recipe(steps=[{name: {}} for name in steps]))
        records = [
            Record(stage=stage, metric="latency", value=value, unit="ms", spread=0.1, device="a phone", source="test")
            for stage, value in latencies
        ]
        return list(reporting.slower(wanted, records))

    zeros = " Zeros are multiplied like other numbers there: what they save is the zipped size."
    pruned = ("prune.magnitude", "quantize.static")
    rest = "on a phone: 1 against 1 ms."
    assert told(["prune.nm"], ("baseline", 1.0), ("artifact:litert", 1.0)) == [
        f"artifact:litert is no faster than baseline {rest}{zeros}"
    ]
    assert told([*pruned], ("baseline", 1.0), ("01-prune.magnitude", 1.0), ("artifact:litert", 1.0)) == [
        f"01-prune.magnitude is no faster than baseline {rest}{zeros}"
    ]
    assert told([*pruned], ("baseline", 1.0), ("01-prune.magnitude", 0.7), ("artifact:litert", 1.0)) == [
        "artifact:litert is slower than 01-prune.magnitude on a phone: 1 against 0.7 ms."
    ]
    assert told(["prune.rigl"], ("baseline", 1.0), ("artifact:litert", 1.3)) == [
        f"artifact:litert is slower than baseline on a phone: 1.3 against 1 ms.{zeros}"
    ]
    assert not told(["finetune"], ("baseline", 1.0), ("artifact:litert", 1.0))


def test_pruned_then_quantized_it_is_smaller_when_zipped(tmp_path: Path) -> None:
    steps = [{"prune.magnitude": {"sparsity": 0.8, "scope": "layer"}}, RECIPE["steps"][1]]
    dense, sparse = (
        paring.compress(recipe(steps=some, require={}, measure={"stages": "ends"}), out=tmp_path / name)
        for name, some in (("dense", steps[1:]), ("sparse", steps))
    )
    sizes = [[r.value for r in one.report.records if r.metric == "zipped_size"][-1] for one in (dense, sparse)]
    assert sizes[1] < sizes[0] - 50
    assert "80.2 % of 288 weights in 4 layers are 0" in sparse.report.stages[1].changed
    assert [dict(s.invariants) for s in sparse.report.stages[1:3]] == [{"sparsity": 4}, {"sparsity": 4, "scale": 4}]


KILLED = """
import sys
import paring
from paring.core import rundir
from pathlib import Path
import json
paring.compress(json.loads(sys.argv[1]), out=Path(sys.argv[2]))
"""


@pytest.mark.parametrize(
    "moment",
    [
        pytest.param("steps/01-finetune", marks=pytest.mark.slow),
        pytest.param("steps/02-quantize.static", marks=pytest.mark.slow),
        "artifacts/litert",
        pytest.param("latency", marks=pytest.mark.slow),
    ],
)
def test_killed_at_any_moment_it_ends_as_an_unbroken_run(finished: paring.Result, tmp_path: Path, moment: str) -> None:
    out = tmp_path / "run"
    # not as __main__: a worker process would start the run again
    with subprocess.Popen([sys.executable, "-c", KILLED, json.dumps(recipe()), str(out)]) as process:
        log, deadline = out / "log.jsonl", time.monotonic() + 300
        wanted = re.compile(rf'"begun", "name": "[^"]*{re.escape(moment)}')
        while not (log.exists() and wanted.search(log.read_text())):
            assert process.poll() is None, "it ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.01)
        time.sleep(0.0 if moment == "latency" else 0.2)  # taking the latency of so small a network is soon done
        os.kill(process.pid, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    again = paring.compress(recipe(), out=out)
    assert stable(again) == stable(finished)
    assert again.artifacts["litert"].read_bytes() == finished.artifacts["litert"].read_bytes()
    begun = re.findall(r'"event": "finished", "name": "([^"]*)"', log.read_text())
    assert len(begun) == len(set(begun)), "something was done twice"
    left = [path.name for path in out.rglob("*") if path.name.startswith((".tmp", ".old"))]
    assert not left


def test_a_second_process_is_kept_out(finished: paring.Result) -> None:
    with RunDirectory(finished.path).locked(), pytest.raises(Busy, match=f"process {os.getpid()}"):
        paring.compress(recipe(), out=finished.path)


def test_a_damaged_step_in_the_folder_is_told_and_not_used(finished: paring.Result, tmp_path: Path) -> None:
    run = shutil.copytree(finished.path, tmp_path / "run")
    weights = run / "steps" / "01-finetune" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    changed = recipe(steps=[RECIPE["steps"][0], {"quantize.static": {"calibration": {"samples": 32}}}])
    with pytest.raises(ParingError, match="damaged") as caught:
        paring.compress(changed, out=run)
    assert "01-finetune" in caught.value.where


@pytest.mark.parametrize(
    ("changes", "problem", "remedy"),
    [
        ({"steps": [{"quantise.static": {}}]}, "no step is called", "'quantize.static'"),
        ({"steps": [{"quantize.static": {"bits": 8}}]}, "no key is called 'bits'", ""),
        ({"steps": ["quantize.static", "finetune"]}, "cannot come after", "finetune → quantize.static"),
        ({"targets": ["litrt"]}, "no target is called", "'litert'"),
        ({"device": "loca"}, "no device is called", "'local'"),
        ({"data": "fashion_mnist"}, "no data set is called", "'fashion-mnist'"),
        ({"weights": "none.safetensors"}, "no such file", ""),
        ({"model": "checkpoints/none.safetensors"}, "there is no none.safetensors", ""),
        ({"require": {"latency": "0 ms"}}, "nothing can keep to", ""),
        ({"model": "torch:paring.testing.networks:StrangeNetwork"}, "special_bessel_j0", "replace"),
        ({"data": "digits"}, "digits", ""),
        ({"steps": [{"quantize.static": {"calibration": {"samples": 65}}}]}, "holds 64", "64"),
    ],
)
def test_what_is_wrong_is_told_and_earlier_results_stay(
    finished: paring.Result, changes: dict[str, Any], problem: str, remedy: str
) -> None:
    results = [
        finished.path / name for name in ("recipe.yaml", "report.json", "report.html", "artifacts/litert/model.tflite")
    ]
    before = [path.read_bytes() for path in results]
    if changes.get("data") == "digits":  # 8×8 images too: what does not fit are 9 labels
        changes = {"model": "zoo:resnet8(classes=9)", "data": "digits(size=32)"}
        problem = "labels"
    with pytest.raises(ParingError) as caught:
        paring.compress(recipe(**changes), out=finished.path)
    assert problem in caught.value.problem
    assert remedy in caught.value.remedy
    assert [path.read_bytes() for path in results] == before


def test_another_model_teaches_and_a_changed_one_teaches_anew(tmp_path: Path) -> None:
    def run(seed: int) -> paring.Result:
        teacher = saved.save(tiny(seed), tmp_path / "teacher.safetensors")
        step = {"distill": {"teacher": str(teacher), "features": "hints", "steps": 2, "batch_size": 16}}
        return paring.compress(recipe(steps=[step], require={}), out=tmp_path / "run")

    first, again, other = run(1), run(1), run(2)
    assert "taught by" in first.report.stages[1].changed
    assert [stage.cached for stage in again.report.stages[:2]] == [True, True]
    assert [stage.cached for stage in other.report.stages[:2]] == [True, False]


def test_a_teacher_that_is_not_there_is_told_before_anything_is_done(tmp_path: Path) -> None:
    steps = [RECIPE["steps"][0], {"distill": {"teacher": "zoo:resnet", "steps": 2, "batch_size": 16}}]
    with pytest.raises(UnknownName, match=r"resnet20|resnet8"):
        paring.compress(recipe(steps=steps, require={}), out=tmp_path / "run")
    assert not list((tmp_path / "run" / "steps").glob("*/*"))


def test_the_file_of_an_earlier_run_teaches(finished: paring.Result, tmp_path: Path) -> None:
    file = str(finished.artifacts["litert"])
    step = {"distill": {"teacher": ["original", file], "steps": 2, "batch_size": 16}}
    found = paring.compress(recipe(steps=[step], require={}, measure={"stages": "ends"}), out=tmp_path / "run")
    assert f"taught by the original, {file}" in found.report.stages[1].changed
    step["distill"]["teacher"] = {"model": file, "weights": "w.safetensors"}
    with pytest.raises(ParingError, match="weights of its own"):
        paring.compress(recipe(steps=[step], require={}), out=tmp_path / "run")


def test_without_plotly_only_the_page_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "plotly", None)
    monkeypatch.setitem(sys.modules, "plotly.offline", None)
    found = paring.compress(recipe(steps=[]), out=tmp_path / "run")
    assert (found.path / "report.json").exists()
    assert not (found.path / "report.html").exists()


def test_check_inspect_evaluate_and_bench(finished: paring.Result) -> None:
    model, artifact = RECIPE["model"], finished.artifacts["litert"]
    assert not paring.check(model, "litert", shape=(1, 8, 8))
    assert {
        p.where for p in paring.check("torch:paring.testing.networks:StrangeNetwork", "litert", shape=(1, 8, 8))
    } == {
        "strange",
        "stranger",
    }
    found = paring.inspect(model, shape=(1, 8, 8))
    assert isinstance(found, Inspection)
    assert found.parameters == sum(p.numel() for p in found.model.module.parameters())
    file = paring.inspect(str(artifact))
    assert isinstance(file, ArtifactInspection)
    assert file.bytes == artifact.stat().st_size
    (record,) = paring.evaluate(artifact, RECIPE["data"])
    assert record.value == finished.report.find("artifact:litert", "accuracy")[0].value
    metrics = [r.metric for r in paring.bench([artifact, artifact.parents[1] / "baseline.litert" / "model.tflite"])]
    assert sorted(set(metrics)) == ["latency", "latency_ratio", "peak_memory", "size", "zipped_size"]
    (finished.path / "x.txt").write_text("x")
    with pytest.raises(UnknownName, match=r"\.txt"):
        paring.evaluate(finished.path / "x.txt", RECIPE["data"])


def test_serving_facts_are_taken_of_the_result_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def quickly(target: Target, artifact: Path, stage: str, threads: int) -> list[Record]:
        return serving(target, artifact, stage, threads, starts=2, batches=(1,))

    monkeypatch.setattr("paring.measure.serving._SECONDS", 0.02)
    monkeypatch.setattr("paring.compression.serving", quickly)
    found = paring.compress(recipe(steps=[], measure={"serving": True}), out=tmp_path / "run").report
    assert {r.stage for r in found.records if r.metric in {"cold_start", "sample_time_in_1"}} == {"artifact:litert"}


def test_training_saves_what_it_measured(tmp_path: Path) -> None:
    record = paring.train_model(
        RECIPE["model"],
        RECIPE["data"],
        tmp_path / "net",
        {"epochs": 2, "batch_size": 16, "learning_rate": 0.05},
        command="x",
    )
    path = tmp_path / "net.safetensors"
    assert saved.notes(path)["accuracy"] == record.as_json()
    assert [p.name for p in sorted(tmp_path.iterdir())] == ["net.json", "net.safetensors"]
    found = paring.compress({"version": 1, "model": str(path), "data": RECIPE["data"]}, out=tmp_path / "run")
    assert found.report.find("baseline", "accuracy")[0].value == record.value


def test_training_begins_from_weights_that_are_given(tmp_path: Path) -> None:
    weights = tmp_path / "weights.safetensors"
    tensors = load.open(RECIPE["model"], shape=(1, 8, 8), seed=5).module.state_dict()
    tensors_on_disk.write(tensors, weights)
    options = {"epochs": 1, "batch_size": 16, "learning_rate": 1e-30}  # as good as standing still
    paring.train_model(RECIPE["model"], RECIPE["data"], tmp_path / "net", options, weights=weights)
    trained = saved.load(tmp_path / "net.safetensors").module
    for name, parameter in trained.named_parameters():
        torch.testing.assert_close(parameter.detach(), tensors[name])
    assert saved.notes(tmp_path / "net.safetensors")["begun_from"] == str(weights)
    with pytest.raises(ParingError, match="brings its own weights"):
        paring.check(str(tmp_path / "net.safetensors"), "litert", weights=weights)


def test_the_test_split_chooses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps may read every split but the one that the figures come from."""
    reading, batches, seen = [""], TinyTask.batches, []

    def watched(self: TinyTask, split: Split, *args: Any, **options: Any) -> Any:
        seen.append((reading[0], split))
        return batches(self, split, *args, **options)

    for kind in (Finetune, QuantizeStatic):
        apply = kind.apply

        def noted(self: Any, *args: Any, apply: Any = apply) -> Any:
            reading[0] = self.name
            try:
                return apply(self, *args)
            finally:
                reading[0] = ""

        monkeypatch.setattr(kind, "apply", noted)
    monkeypatch.setattr(TinyTask, "batches", watched)
    paring.compress(recipe(measure={"stages": "ends"}), out=tmp_path / "run")
    assert {split for step, split in seen if step == "finetune"} == {"train", "validation"}
    assert {split for step, split in seen if step == "quantize.static"} == {
        "calibration",
        "validation",
    }  # for its ladder
    # files are compared with their models on calibration samples
    assert {split for step, split in seen if not step} == {"test", "calibration"}
