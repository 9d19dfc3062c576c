"""One run of a tiny network, quantized, and its bundles. Everything here is derived from these."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from paring import api
from paring.bundle.platforms import PLATFORMS
from paring.compression import Compression, Export, State
from paring.measure import measurements

RECIPE: dict[str, Any] = {
    "version": 1,
    "model": "torch:paring.testing.networks:tiny_network",
    "data": "digits",
    "targets": [{"litert": {"io": "int8", "layout": "NHWC"}}, "onnxruntime"],
    "steps": [{"quantize.static": {"calibration": {"samples": 32}}}],
    "measure": {"stages": "ends", "test_samples": 40},
}


def compressed(recipe: Mapping[str, Any], out: Path) -> Path:
    """A run directory without float files and without measurements, which would take longer than all the rest."""

    def export(self: Compression, states: Sequence[State]) -> list[Export]:
        return [self._export(states[-1], *one, f"artifact:{one[0].name}") for one in self.targets]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Compression, "export", export)
        patch.setattr(measurements, "latency", lambda *_: [])
        patch.setattr(measurements, "of_artifact", lambda *_: [])
        patch.setattr(measurements, "memory_of", lambda *_: [])
        return api.compress(recipe, out=out).path


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run directory."""
    return compressed(RECIPE, tmp_path_factory.mktemp("bundle") / "tiny-run")


@pytest.fixture(scope="session")
def bundles(run: Path) -> Mapping[str, Path]:
    """Platform -> its bundle."""
    return {name: api.bundle(run, name) for name in PLATFORMS}


@pytest.fixture(scope="session")
def coreml_run(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run with a Core ML package besides."""
    more = {**RECIPE, "targets": [*RECIPE["targets"], "coreml"]}
    return compressed(more, shutil.copytree(run, tmp_path_factory.mktemp("bundle") / "coreml-run"))


@pytest.fixture
def openvino_run(run: Path, tmp_path: Path) -> Path:
    """The run with OpenVINO's folder besides."""
    more = {**RECIPE, "targets": [*RECIPE["targets"], {"openvino": {"io": "int8", "layout": "NHWC"}}]}
    return compressed(more, shutil.copytree(run, tmp_path / "openvino-run"))


@pytest.fixture
def full_run(run: Path, tmp_path: Path) -> Path:
    """The run with a file for ExecuTorch besides, whose export takes as long as all else here together."""
    more = {**RECIPE, "targets": [*RECIPE["targets"], "executorch"]}
    return compressed(more, shutil.copytree(run, tmp_path / "full-run"))
