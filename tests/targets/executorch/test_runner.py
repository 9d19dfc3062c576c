"""ExecuTorch's runner: files of other makers, damaged files, one thread pool for all."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch

from paring.core.errors import ParingError
from paring.core.quiet import quiet
from paring.core.target import one_sample
from paring.measure.answers import of_model
from paring.targets.executorch import ExecuTorch, program
from paring.testing.models import tiny


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ExecuTorch().export(tiny(), tmp_path_factory.mktemp("m") / "m.pte")


def test_a_file_without_our_metadata_runs(tmp_path: Path) -> None:
    from executorch.exir import to_edge_transform_and_lower

    model, image = tiny(), torch.randn(3, 1, 8, 8)
    with quiet():
        exported = torch.export.export(model.module, (image[:1],), strict=False)
        content = to_edge_transform_and_lower(exported).to_executorch().buffer
    (tmp_path / "m.pte").write_bytes(content)
    runner = ExecuTorch().open(tmp_path / "m.pte")
    (spec,) = runner.inputs
    assert spec.shape == ("batch", 1, 8, 8)
    (found,) = runner.run({spec.name: image.numpy()}).values()
    np.testing.assert_allclose(found, of_model(model)({"image": image.numpy()})["output"], atol=1e-4)


def test_runners_with_other_threads_do_not_harm_each_other(file: Path) -> None:
    target, sample = ExecuTorch(), one_sample(tiny().inputs)
    one = target.open(file, threads=1)
    wanted = one.run(sample)["output"]
    one.set(sample)
    two = target.open(file, threads=2)  # takes the pool away from the first
    one.invoke()
    for runner in (two, one, two, one):
        np.testing.assert_allclose(runner.run(sample)["output"], wanted, atol=1e-5)


def test_a_file_outlives_its_folder_entry(file: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.pte"
    copy.write_bytes(file.read_bytes())
    runner = ExecuTorch().open(copy)
    copy.unlink()
    assert runner.run(one_sample(runner.inputs))["output"].shape == (1, 10)


def test_every_damage_is_refused(file: Path, tmp_path: Path) -> None:
    content, chance = file.read_bytes(), np.random.default_rng(0)
    for i in range(150):
        damaged = bytearray(content)
        if i % 3:
            damaged[chance.integers(len(damaged))] ^= 1 << int(chance.integers(8))
        else:
            damaged = damaged[: chance.integers(len(damaged))]
        (tmp_path / "m.pte").write_bytes(damaged)
        with pytest.raises(ParingError):
            ExecuTorch().open(tmp_path / "m.pte")


def test_the_digest_is_of_everything_else(file: Path) -> None:
    content = file.read_bytes()
    digest = program.metadata(content)["sha256"]
    assert hashlib.sha256(content.replace(digest.encode(), b"0" * 64)).hexdigest() == digest


@pytest.mark.parametrize("content", [b"", b"\0\0\0\0ET12", b"not a model at all"])
def test_a_file_that_is_none_is_not_described(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "m.pte").write_bytes(content)
    with pytest.raises(ParingError):
        ExecuTorch().describe(tmp_path / "m.pte")
