"""What a bundle holds, and what is refused."""

import hashlib
import json
import runpy
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from paring import api
from paring.bundle import golden, manifest
from paring.bundle.manifest import Golden
from paring.bundle.platforms import PLATFORMS
from paring.core import artifact
from paring.core.errors import ParingError, UnknownName
from paring.data import digits
from paring.measure.answers import Answers
from paring.testing.mil import answers


def files(bundle: Path) -> dict[str, str]:
    return {
        path.relative_to(bundle).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in bundle.rglob("*")
        if path.is_file()
    }


def test_the_manifest_names_every_file_with_its_hash(bundles: Mapping[str, Path]) -> None:
    for name, bundle in bundles.items():
        found = manifest.read(bundle)
        named = {one.path: one.sha256 for one in found.files}
        there = files(bundle)
        assert there.pop("manifest.json")
        assert (found.platform, named) == (name, there)
        for wanted in ("README.md", "recipe.yaml", "report.json", "report.html", "labels.json", "preprocessing.json"):
            assert wanted in there
        assert [one.target for one in found.artifacts] == [
            t for t in PLATFORMS[name].targets if t in ("litert", "onnxruntime")
        ]
        assert {one.of for one in found.licences} >= {"model", "data", "integration code", "runtime litert"}
        assert found.libraries["numpy"]


def test_licences_are_told_or_said_to_be_unknown(bundles: Mapping[str, Path]) -> None:
    found = {one.of: one.licence for one in manifest.read(bundles["linux"]).licences}
    assert found["model"] == "unknown"
    assert found["data"] == "CC-BY-4.0"
    assert "Apache" in found["runtime litert"]
    assert "MIT" in found["runtime onnxruntime"]


def test_the_same_run_gives_the_same_bytes(run: Path, bundles: Mapping[str, Path], tmp_path: Path) -> None:
    again = api.bundle(run, "linux", tmp_path / "again")
    assert files(again) == files(bundles["linux"])
    api.bundle(run, "linux", again)  # a bundle takes the place of one
    assert files(again) == files(bundles["linux"])


def test_golden_samples_are_the_first_of_the_test_split(run: Path, bundles: Mapping[str, Path]) -> None:
    bundle = bundles["linux"]
    found = Golden.model_validate_json((bundle / manifest.read(bundle).golden).read_text())
    batch = next(iter(digits.open_digits("digits").batches("test", found.samples)))
    inputs = golden.load(bundle, found)
    np.testing.assert_array_equal(inputs["image"], batch.inputs["image"].numpy())
    assert list(found.targets) == batch.targets.tolist()
    original = golden.array(bundle / found.original["output"], "float32", found.shapes["output"])
    np.testing.assert_array_equal(original, Answers.load(run / "steps" / "00-baseline").outputs[: found.samples])
    assert found.raw is not None
    raw = golden.array(bundle / found.raw.path, found.raw.dtype, found.raw.shape)
    assert (raw.shape, raw.max()) == ((found.samples, 8, 8, 1), 16)


def test_preprocessing_is_told_as_data(bundles: Mapping[str, Path]) -> None:
    told = json.loads((bundles["linux"] / "preprocessing.json").read_text())
    assert told["kind"] == "image"
    assert told["inputs"][0]["shape"] == ["batch", 1, 8, 8]
    assert set(told["steps"]) >= {"size", "scale", "mean", "std", "raw_range", "color", "resize"}
    (end,) = told["artifacts"]["litert"]["inputs"]
    assert (end["dtype"], end["shape"], end["channels_last"]) == ("int8", [1, 8, 8, 1], True)
    assert end["scale"] > 0
    assert json.loads((bundles["linux"] / "labels.json").read_text()) == [str(digit) for digit in range(10)]


def test_tolerances_are_codes_where_the_file_computes_on_integers(bundles: Mapping[str, Path]) -> None:
    litert, onnx = manifest.read(bundles["linux"]).artifacts
    step = litert.outputs[0].scale
    assert litert.tolerance["output"].same == 0
    assert litert.tolerance["output"].elsewhere == pytest.approx(1.01 * step)
    assert onnx.outputs[0].scale == 0  # its ends are float: the step is read off its answers
    assert onnx.tolerance["output"].elsewhere == pytest.approx(2.01 * step, rel=1e-4)


def test_a_core_ml_package_goes_into_the_swift_package(coreml_run: Path, tmp_path: Path) -> None:
    bundle = api.bundle(coreml_run, "ios", tmp_path / "ios")
    package = bundle / "ios/Sources/Model/coreml/model.mlpackage"
    assert artifact.digest(package) == artifact.digest(coreml_run / "artifacts/coreml/model.mlpackage")
    found = api.verify(bundle)
    assert found.good
    assert [(one.target, bool(one.runtime)) for one in found.replays] == [("litert", True), ("coreml", False)]
    assert found.replays[1].note == "not replayed: Core ML runs on Apple's systems only"
    told = manifest.read(bundle)
    assert any(note.startswith("coreml was not run") for note in told.notes)
    step = told.artifacts[0].outputs[0].scale  # of LiteRT's file, which is the model's
    assert told.artifacts[1].tolerance["output"].elsewhere >= 2 * step
    next(package.rglob("weight.bin")).write_bytes(b"other")
    assert [fault.rpartition(": ")[2] for fault in api.verify(bundle).faults] == ["was changed"]


def test_a_core_ml_package_answers_its_golden_samples_in_pytorch(coreml_run: Path, tmp_path: Path) -> None:
    bundle = api.bundle(coreml_run, "ios", tmp_path / "ios")
    told = manifest.read(bundle)
    samples = manifest.validated(Golden, json.loads((bundle / told.golden).read_text()), bundle)
    one = told.artifacts[1]
    expected = golden.array(bundle / one.expected["output"], "float32", samples.shapes["output"])
    given = answers(bundle / one.path, golden.load(bundle, samples))["output"]
    np.testing.assert_allclose(given, expected, atol=one.tolerance["output"].same)


@pytest.mark.parametrize(
    ("platform", "change", "problem", "remedy"),
    [
        ("androit", None, "no platform is called", "'android'"),
        ("linux", "report.json", "is not a finished run", "paring compress"),
        ("linux", "artifacts/litert/model.tflite", "model.tflite is missing", "run the recipe again"),
        ("linux", "steps/00-baseline/outputs.npy", "answers of 00-baseline", "run the recipe again"),
    ],
)
def test_what_is_wrong_with_a_run_is_told(
    run: Path, tmp_path: Path, platform: str, change: str | None, problem: str, remedy: str
) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    if change:
        (copy / change).unlink()
    with pytest.raises(ParingError) as caught:
        api.bundle(copy, platform, tmp_path / "out")
    assert problem in caught.value.problem
    assert remedy in caught.value.remedy
    assert not (tmp_path / "out").exists()


def test_a_run_without_an_artifact_for_the_platform_says_which_targets_to_add(run: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    report: dict[str, Any] = json.loads((copy / "report.json").read_text())
    report["stages"] = [stage for stage in report["stages"] if stage["name"] != "artifact:litert"]
    (copy / "report.json").write_text(json.dumps(report))
    with pytest.raises(ParingError, match="it has onnxruntime") as caught:
        api.bundle(copy, "android", tmp_path / "out")
    assert "litert or executorch" in caught.value.remedy
    with pytest.raises(ParingError, match="not a finished run"):
        api.bundle(tmp_path, "android")


def test_a_folder_that_is_no_bundle_is_left_alone(run: Path, tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"mine")
    with pytest.raises(ParingError, match="no bundle"):
        api.bundle(run, "linux", tmp_path)
    with pytest.raises(ParingError, match="no bundle"):
        api.bundle(run, "linux", tmp_path / "photo.jpg")
    assert [path.name for path in tmp_path.iterdir()] == ["photo.jpg"]


def test_other_data_than_the_run_had_are_told(run: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    targets = np.load(copy / "steps/00-baseline/targets.npy")
    np.save(copy / "steps/00-baseline/targets.npy", targets + 1)
    with pytest.raises(ParingError, match="others than those of the run"):
        api.bundle(copy, "linux", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_unknown_platform_is_an_unknown_name(run: Path) -> None:
    with pytest.raises(UnknownName):
        api.bundle(run, "windows")


def test_the_example_runs(run: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    copy = shutil.copytree(run, tmp_path / "example-run", ignore=shutil.ignore_patterns("bundles"))
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    example = Path(__file__).parents[2] / "examples" / "bundle.py"
    labels = runpy.run_path(str(example))["main"](copy)
    found = manifest.read(copy / "bundles/python")
    expected = golden.array(copy / "bundles/python" / found.artifacts[0].expected["output"], "float32", (8, 10))
    assert labels == [str(place) for place in expected.argmax(1)]
    assert api.verify(copy / "bundles/python").good
