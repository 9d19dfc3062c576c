"""All techniques in one recipe, on digits, to every runtime: each keeps what those before it won."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import paring
from paring import report
from paring.inspection import ArtifactInspection
from paring.report.document import Report

ROOT = Path(__file__).parents[1]
TARGETS = ("litert", "onnxruntime", "executorch")
RECOVER = {"epochs": 1, "batch_size": 64, "learning_rate": 0.02, "teacher": "original"}
CHAIN: list[dict[str, Any]] = [
    {"distill.student": {"width": 0.75, "round_to": 4}},
    {"distill": {**RECOVER, "features": ["hints"]}},
    {"prune.channels": {"macs": 0.6, "samples": 64, "recover": RECOVER}},
    {"factorize.svd": {"only": ["@conv"], "parameters": 0.9, "samples": 64, "slower": "allow", "recover": RECOVER}},
    {"prune.magnitude": {"sparsity": 0.6, "keep": ["@first"], "recover": RECOVER}},
    {"finetune": RECOVER},
    {"quantize.qat": {**RECOVER, "learning_rate": 0.002, "calibration": {"samples": 64}}},
]
SPARSE, QUANTIZED = 5, 7  # which of them; counted from 1


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> paring.Result:
    recipe = {
        "version": 1,
        "model": str(ROOT / "checkpoints" / "resnet8-digits.safetensors"),
        "data": "digits",
        "targets": [*TARGETS],
        "steps": CHAIN,
        "require": {"size": "60 KiB"},
    }
    return paring.compress(recipe, out=tmp_path_factory.mktemp("runs") / "chain")


pytestmark = pytest.mark.slow


def steps(found: Report) -> list[str]:
    return [stage.name for stage in found.stages if stage.kind == "step"]


def test_every_step_shows_accuracy_size_and_latency_on_every_runtime(result: paring.Result) -> None:
    found = result.report
    assert len(steps(found)) == len(CHAIN)
    for stage in ("baseline", *steps(found), *(f"artifact:{target}" for target in TARGETS)):
        assert found.find(stage, "accuracy")[0].value > 85, stage
    for stage in ("baseline", *steps(found)[:-1]):  # the last step is what the artifacts hold
        assert len(found.find(stage, "size")) == len(found.find(stage, "latency")) == len(TARGETS)
    for target in TARGETS:
        (size,), (latency,) = (found.find(f"artifact:{target}", metric) for metric in ("size", "latency"))
        assert size.value < found.find("baseline", "size")[TARGETS.index(target)].value / 3
        assert latency.value > 0
        assert found.find(f"artifact:{target}", "agreement")[0].value > 98


def test_every_invariant_stands_to_the_end(result: paring.Result) -> None:
    held = [stage.invariants for stage in result.report.stages if stage.kind == "step"]
    for earlier, later in pairwise(held):
        assert all(later[kind] >= count for kind, count in earlier.items())
    assert held[SPARSE - 1]["sparsity"] > 0
    assert held[QUANTIZED - 1]["scale"] > 0
    assert {"shape", "rank", "sparsity", "scale"} <= held[-1].keys()


def test_the_zeros_are_in_the_file(result: paring.Result) -> None:
    found = paring.inspect(str(result.artifacts["litert"]))
    assert isinstance(found, ArtifactInspection)
    weights = [tensor for tensor in found.contents.tensors if tensor.bytes and len(tensor.shape) == 4]
    assert sum(tensor.zeros * tensor.bytes for tensor in weights) / sum(tensor.bytes for tensor in weights) > 0.5


def test_the_report_reads_back(result: paring.Result) -> None:
    assert report.read_json(result.path / "report.json") == result.report
    page = (result.path / "report.html").read_text(encoding="utf-8")
    assert "all hold: " in page
