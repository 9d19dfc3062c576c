"""A bundle as it was written is good; one bit changed, and it is not."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from paring import api
from paring.bundle import manifest
from paring.bundle.manifest import Artifact
from paring.bundle.verify import here, verify
from paring.cli import app
from paring.core.errors import ParingError
from paring.core.target import Array, Runner


@pytest.fixture
def bundle(bundles: Mapping[str, Path], tmp_path: Path) -> Path:
    """A bundle to break."""
    return shutil.copytree(bundles["linux"], tmp_path / "linux")


def test_every_kind_of_bundle_passes_on_this_machine(bundles: Mapping[str, Path]) -> None:
    for name, path in bundles.items():
        found = api.verify(path)
        assert found.good, found
        assert found.platform == name
        assert all(one.runtime and one.apart == one.tolerance == 0 for one in found.replays)  # the same kernels
    assert [one.target for one in found.replays] == ["litert", "onnxruntime"]


@pytest.mark.parametrize(
    "file",
    ["artifacts/litert/model.tflite", "golden/inputs/image.bin", "golden/golden.json", "recipe.yaml", "README.md"],
)
def test_one_bit_changed_is_told_with_the_file(bundle: Path, file: str) -> None:
    content = bytearray((bundle / file).read_bytes())
    content[len(content) // 2] ^= 1
    (bundle / file).write_bytes(content)
    found = api.verify(bundle)
    assert not found.good
    assert found.faults == (f"{file}: was changed",)
    assert not found.replays  # nothing of it is run


def test_files_missing_and_files_besides_are_told(bundle: Path) -> None:
    (bundle / "labels.json").unlink()
    (bundle / "linux" / "note.txt").write_text("x")
    (bundle / "link").symlink_to("/etc")
    assert set(api.verify(bundle).faults) == {
        "labels.json: is missing",
        "linux/note.txt: does not belong to the bundle",
        "link: does not belong to the bundle",
    }


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("schema_version", "paring.bundle/2", "has schema 'paring.bundle/2'"),
        ("schema_version", "other/1", "is not the manifest"),
        ("name", "another", "was changed"),
        ("platform", 3, "platform"),
        ("more", 1, "more"),
    ],
)
def test_a_manifest_that_is_another_is_refused(bundle: Path, key: str, value: Any, problem: str) -> None:
    path = bundle / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
    with pytest.raises(ParingError) as caught:
        api.verify(bundle)
    assert problem in caught.value.problem
    assert "manifest.json" in caught.value.where


def test_an_artifact_from_elsewhere_is_not_run(bundle: Path) -> None:
    found = manifest.read(bundle)
    first, *others = found.artifacts
    strange = found.model_copy(update={"artifacts": (first.model_copy(update={"path": "../model.tflite"}), *others)})
    (bundle / "manifest.json").write_text(manifest.dump(strange.sealed()))
    assert api.verify(bundle).faults == ("../model.tflite: is none of the bundle's files",)


def test_what_is_no_bundle_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ParingError, match="cannot be read"):
        api.verify(tmp_path)
    (tmp_path / "manifest.json").write_bytes(b"{")
    with pytest.raises(ParingError, match="is not JSON"):
        api.verify(tmp_path)


@dataclass
class Off:
    """A runner that answers by so many codes otherwise, as another processor might."""

    runner: Runner
    codes: float
    scale: float

    def __getattr__(self, name: str) -> Any:
        return getattr(self.runner, name)

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        return {name: array + self.codes * self.scale for name, array in self.runner.run(inputs).items()}


@pytest.mark.parametrize(
    ("processor", "codes", "good"),
    [(None, 1.0, False), ("another", 1.0, True), ("another", -3.0, False), ("another", np.nan, False)],
)
def test_a_device_can_be_the_runner_with_its_own_tolerance(
    bundles: Mapping[str, Path], processor: str | None, codes: float, good: bool
) -> None:
    scale = manifest.read(bundles["linux"]).artifacts[0].outputs[0].scale

    def opened(artifact: Artifact, file: Path) -> Runner:
        runner = here(artifact, file)
        assert runner is not None
        return Off(runner, codes, scale)  # type: ignore[return-value]

    assert verify(bundles["linux"], opened, processor).good is good


def test_the_command_tells_and_exits_with_1(bundle: Path) -> None:
    well = CliRunner().invoke(app, ["verify", str(bundle)])
    assert (well.exit_code, well.output.count("ok ")) == (0, 2)
    (bundle / "labels.json").write_text("[]")
    ill = CliRunner().invoke(app, ["verify", str(bundle), "--json"])
    assert ill.exit_code == 1
    assert json.loads(ill.output)["faults"] == ["labels.json: was changed"]


def test_the_command_writes_a_bundle(run: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["bundle", str(run), "--platform", "python", "--out", str(tmp_path / "it")])
    assert done.exit_code == 0
    assert str(tmp_path / "it") in done.output.replace("\n", "")
    assert (tmp_path / "it" / "manifest.json").is_file()
