"""Checkpoints of PyTorch: weights come in, code does not."""

import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from paring import load
from paring.core.errors import ParingError
from paring.core.quiet import quiet
from paring.load import checkpoint
from paring.testing.networks import tiny_network

NAME = "torch:paring.testing.networks:tiny_network"


@pytest.fixture
def state() -> dict[str, torch.Tensor]:
    torch.manual_seed(3)
    return dict(tiny_network().state_dict())


def opened(content: Any, folder: Path, suffix: str = ".pth", **options: Any) -> dict[str, torch.Tensor]:
    path = folder / f"w{suffix}"
    torch.save(content, path, **options)
    return dict(load.open(NAME, weights=path, shape=(1, 8, 8)).module.state_dict())


@pytest.mark.parametrize("suffix", sorted(checkpoint.SUFFIXES))
@pytest.mark.parametrize("archive", [True, False])
def test_weights_of_every_form_of_the_file_come_in(
    state: dict[str, torch.Tensor], tmp_path: Path, suffix: str, archive: bool
) -> None:
    found = opened(state, tmp_path, suffix, _use_new_zipfile_serialization=archive)
    assert all(torch.equal(found[name], tensor) for name, tensor in state.items())


@pytest.mark.parametrize("key", ["state_dict", "model", "model_state_dict"])
def test_weights_within_a_training_checkpoint_are_found(
    state: dict[str, torch.Tensor], tmp_path: Path, key: str
) -> None:
    optimizer = torch.optim.Adam(tiny_network().parameters()).state_dict()
    content = {key: state, "epoch": 7, "optimizer": {"state": {0: state["classifier.bias"]}, **optimizer}, "note": "x"}
    found = opened(content, tmp_path)
    assert all(torch.equal(found[name], tensor) for name, tensor in state.items())


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod.", "model."])
def test_prefixes_of_wrappers_are_left_away(state: dict[str, torch.Tensor], tmp_path: Path, prefix: str) -> None:
    found = opened({f"{prefix}{name}": tensor for name, tensor in state.items()}, tmp_path)
    assert torch.equal(found["classifier.weight"], state["classifier.weight"])


def test_counts_of_batches_may_be_missing(state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    found = opened({k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}, tmp_path)
    assert torch.equal(found["stem.1.running_mean"], state["stem.1.running_mean"])
    with pytest.raises(ParingError, match=r"missing \(stem.1.running_mean\)"):
        opened({k: v for k, v in state.items() if k != "stem.1.running_mean"}, tmp_path)


class Evil:
    def __reduce__(self) -> Any:
        return os.mkdir, ("ran",)


@pytest.mark.parametrize("archive", [True, False])
def test_a_pickle_that_needs_code_is_refused_and_never_run(
    state: dict[str, torch.Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, archive: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ParingError, match=r"needs code to be read.*mkdir") as caught:
        opened({**state, "x": Evil()}, tmp_path, _use_new_zipfile_serialization=archive)
    assert "weights_only=False" in caught.value.remedy
    assert not Path("ran").exists()


def test_a_whole_model_is_refused_with_the_class_that_it_names(tmp_path: Path) -> None:
    with pytest.raises(ParingError, match=r"needs code .*TinyNetwork"):
        opened(tiny_network(), tmp_path)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ({"state_dict": {"a": torch.ones(1)}, "model": {"a": torch.ones(1)}}, "several sets of tensors: state_dict"),
        ({"state_dict": {"a": torch.ones(1)}, "ema": {"a": torch.ones(1)}}, "several sets of tensors: state_dict, ema"),
        ({"a": torch.ones(1), "ema": {"a": torch.ones(1)}}, "tensors within ema"),
        ({"epoch": 3}, "holds no tensors"),
        (torch.ones(3), "holds one Tensor"),
        ([torch.ones(3)], "holds one list"),
    ],
)
def test_what_is_not_clearly_one_set_of_weights_is_refused(content: Any, problem: str, tmp_path: Path) -> None:
    with pytest.raises(ParingError, match=problem):
        opened(content, tmp_path)


@pytest.mark.parametrize("content", [b"", b"\xff" * 64, b"PK\x03\x04", pickle.dumps({"a": 1}, protocol=2)[:-3]])
def test_a_damaged_file_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "w.pt").write_bytes(content)
    with pytest.raises(ParingError, match=r"damaged"):
        checkpoint.read(tmp_path / "w.pt")


def test_a_truncated_archive_is_refused(state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    torch.save(state, tmp_path / "w.pt")
    content = (tmp_path / "w.pt").read_bytes()
    (tmp_path / "w.pt").write_bytes(content[: len(content) // 2])
    with pytest.raises(ParingError, match="damaged"):
        checkpoint.read(tmp_path / "w.pt")


def test_programs_and_compressed_archives_are_told_from_weights(tmp_path: Path) -> None:
    with quiet():  # it is deprecated, but such files are there
        torch.jit.trace(nn.Linear(2, 2), torch.ones(1, 2)).save(str(tmp_path / "w.pt"))
    with pytest.raises(ParingError, match="TorchScript"):
        checkpoint.read(tmp_path / "w.pt")
    with zipfile.ZipFile(tmp_path / "bomb.pt", "w", zipfile.ZIP_DEFLATED) as bomb:
        bomb.writestr("archive/data.pkl", bytes(10**6))
    with pytest.raises(ParingError, match="compressed archive"):
        checkpoint.read(tmp_path / "bomb.pt")
