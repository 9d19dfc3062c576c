"""`paring diagnose`: layer by layer, from what the runtime gives."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import paring
from paring.core.errors import ParingError
from paring.core.model import Model
from paring.core.progress import Silent
from paring.core.step import Context
from paring.core.target import Limits
from paring.diagnosis import Diagnosis, diagnose
from paring.steps.quantize.static import QuantizeStatic, StaticConfig
from paring.targets.litert import LiteRT
from paring.testing.models import TinyTask, tiny

EVERY = frozenset({"float32", "int8", "int4", "int16"})
RECIPE: dict[str, Any] = {
    "version": 1,
    "model": "torch:paring.testing.networks:tiny_network",
    "data": "python:paring.testing.models:TinyTask",
    "steps": [{"quantize.static": {"calibration": {"samples": 64}, "keep_float": ["body.3"]}}],
}


def diagnosed(model: Model, tmp_path: Path, **options: Any) -> Diagnosis:
    config = StaticConfig.model_validate({"calibration": {"samples": 64}, **options})
    quantized = QuantizeStatic().apply(model, config, Context(TinyTask(), Limits(EVERY, EVERY), 0, model, tmp_path))
    artifact = LiteRT().export(quantized, tmp_path / "m.tflite")
    return diagnose(model, quantized, LiteRT(), artifact, TinyTask(), 32, Silent())


def test_a_healthy_network(tmp_path: Path) -> None:
    found = diagnosed(tiny(), tmp_path)
    assert {one.layer for one in found.layers} == {"stem.0", "body.0", "body.3", "classifier"}
    assert {one.kind for one in found.layers} == {"conv", "depthwise", "linear"}
    assert all(one.runtime > 25 for one in found.layers)
    assert found.sqnr > 25
    assert found.sqnr == pytest.approx(found.simulated, abs=2)
    assert found.agreement > 0.9
    assert (found.samples, found.in_float, found.left, found.note) == (32, (), {}, "")


def test_a_spoiled_layer_comes_first_with_its_cause(tmp_path: Path) -> None:
    model = tiny()
    weight = model.module.get_submodule("body.0").weight
    with torch.no_grad():  # channels of a depthwise weight far apart, balanced by the batch norm behind
        scale = torch.tensor([100.0, *[0.1] * 7])
        weight.mul_(scale.reshape(-1, 1, 1, 1))
        model.module.get_submodule("body.1").running_var.mul_(scale.square())
        model.module.get_submodule("body.1").running_mean.mul_(scale)
        model.module.get_submodule("body.1").eps = 1e-12
        model.module.get_submodule("classifier").weight[3, :] *= 60
    found = diagnosed(model, tmp_path, granularity="tensor")
    worst = found.layers[0]
    assert worst.layer == "classifier"
    assert "one scale for a linear weight" in worst.cause
    assert worst.remedy == "granularity: channel"


def test_few_bits_are_named(tmp_path: Path) -> None:
    found = diagnosed(tiny(), tmp_path, layers={"body.3": {"weights": "int4"}})
    assert found.layers[0].layer == "body.3"
    assert "4 bits are few" in found.layers[0].cause
    assert found.layers[0].gain > 3


def test_what_clips_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Calibrated on faint images only."""
    batches = TinyTask.batches

    def faint(self: TinyTask, split: Any, *given: Any, **options: Any) -> Any:
        for batch in batches(self, split, *given, **options):
            if split == "calibration":
                batch.inputs["image"].mul_(0.1)
            yield batch

    monkeypatch.setattr(TinyTask, "batches", faint)
    found = diagnosed(tiny(), tmp_path)
    assert any("outside the range that calibration found" in one.cause for one in found.layers)


def test_a_run_is_diagnosed_and_written_down(tmp_path: Path) -> None:
    run = paring.compress(RECIPE, out=tmp_path / "run").path
    found = paring.diagnose(run, samples=16)
    assert found.layers[0].gain >= found.layers[-1].gain
    assert "body.3" in found.left
    written = json.loads((run / "diagnosis.json").read_text())
    assert written["schema"] == "paring.diagnosis/1"
    assert [one["layer"] for one in written["layers"]] == [one.layer for one in found.layers]
    page = (run / "diagnosis.html").read_text()
    assert all(one.layer in page for one in found.layers)
    command = [sys.executable, "-c", "from paring.cli import main; main()", "diagnose", str(run), "--samples", "16"]
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["sqnr"] == pytest.approx(written["sqnr"])
    assert "torch" not in done.stderr  # torchao tells of GPU kernels that it lacks


def test_the_report_tells_what_runs_on_integers(tmp_path: Path) -> None:
    found = paring.compress({**RECIPE, "targets": ["onnxruntime"]}, out=tmp_path / "run").report
    (share,) = found.find("artifact:onnxruntime", "on_integers")
    assert 0 < share.value < 100
    assert share.samples > 4
    (note,) = (note for note in found.notes if "computes in float" in note)
    assert "FusedConv (body.3" in note  # which the recipe keeps in float
    assert not found.find("baseline", "on_integers")


def test_what_cannot_be_diagnosed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ParingError):
        paring.diagnose(tmp_path / "no-run")
    plain = paring.compress({**RECIPE, "steps": []}, out=tmp_path / "plain").path
    with pytest.raises(ParingError, match="no step of this run quantizes"):
        paring.diagnose(plain)
    quantized = paring.compress(RECIPE, out=tmp_path / "run").path
    with pytest.raises(ParingError, match="no target of this run"):
        paring.diagnose(quantized, target="liter")
