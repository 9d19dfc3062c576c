"""Weights of anyone's making: they fit, or the error says where they do not."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from paring import load
from paring.core.errors import ParingError
from paring.load import weights
from paring.testing.networks import tiny_network

NAME = "torch:paring.testing.networks:tiny_network"


@pytest.fixture
def state() -> dict[str, torch.Tensor]:
    return dict(tiny_network().state_dict())


def opened(state: dict[str, torch.Tensor], folder: Path) -> None:
    save_file(state, folder / "w.safetensors")
    load.open(NAME, weights=folder / "w.safetensors", shape=(1, 8, 8))


def test_missing_unknown_and_misshapen_tensors_are_told_at_once(state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    del state["classifier.bias"]
    state["classifier.bais"] = torch.zeros(10)
    state["classifier.weight"] = torch.zeros(10, 9)
    with pytest.raises(ParingError) as caught:
        opened(state, tmp_path)
    for part in ("missing (classifier.bias)", "not in the model (classifier.bais)", "is (10, 9), wanted (10, 8)"):
        assert part in caught.value.problem


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_no_numbers_are_refused_with_the_tensors_name(
    state: dict[str, torch.Tensor], tmp_path: Path, value: float
) -> None:
    state["classifier.weight"][3, 4] = value
    with pytest.raises(ParingError, match="1 of 80 values are NaN or infinite") as caught:
        opened(state, tmp_path)
    assert "classifier.weight" in caught.value.where


def test_a_pickle_is_refused_without_being_read(tmp_path: Path) -> None:
    path = tmp_path / "w.pkl"
    path.write_bytes(b"cos\nsystem\n(S'exit 1'\ntR.")
    with pytest.raises(ParingError, match="is a pickle") as caught:
        load.open(NAME, weights=path, shape=(1, 8, 8))
    assert "save_file" in caught.value.remedy


@pytest.mark.parametrize("content", [b"", b"\xff" * 64, b"\x10" + bytes(7) + b"{}"])
def test_a_damaged_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(content)
    with pytest.raises(ParingError, match="damaged"):
        weights.read(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ParingError, match="there is no such file"):
        weights.read(tmp_path / "w.safetensors")


def test_tied_tensors_are_stored_once(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Linear(64, 64), nn.Linear(64, 64))
    module[1].weight = module[0].weight
    weights.write(module.state_dict(), tmp_path / "w.safetensors")
    assert (tmp_path / "w.safetensors").stat().st_size < 2 * 64 * 64 * 4
    again = weights.read(tmp_path / "w.safetensors")
    assert torch.equal(again["0.weight"], module[1].weight)
    assert torch.equal(again["1.weight"], module[1].weight)


def test_tensors_of_every_layout_and_type_come_back(tmp_path: Path) -> None:
    tensors = {
        "channels_last": torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
        "transposed": torch.randn(3, 4).T,
        "int8": torch.arange(-4, 4, dtype=torch.int8),
        "scalar": torch.tensor(3),
        "empty": torch.zeros(0, 4),
    }
    weights.write(tensors, tmp_path / "w.safetensors")
    again = weights.read(tmp_path / "w.safetensors")
    assert again.keys() == tensors.keys()
    assert all(
        torch.equal(again[name], tensor) and again[name].dtype == tensor.dtype for name, tensor in tensors.items()
    )


class Versioned(torch.nn.Linear):
    """Reads the version of its state, as some networks of torchvision do."""

    _version = 2

    def _load_from_state_dict(self, state_dict, prefix, local_metadata, *others):
        if local_metadata.get("version") != self._version:
            raise ValueError("unknown version")
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *others)


def test_a_class_that_reads_the_version_of_its_state_gets_it(tmp_path: Path) -> None:
    layers = torch.nn.Sequential(Versioned(2, 3))
    path = tmp_path / "w.safetensors"
    weights.write(layers.state_dict(), path)
    found = torch.nn.Sequential(Versioned(2, 3))
    weights.put(weights.read(path), found, path)
    assert torch.equal(found[0].weight, layers[0].weight)


@pytest.mark.parametrize("tensor", [torch.rand(3, 1).expand(3, 4), torch.rand(6).as_strided((3, 4), (1, 1))])
def test_tensors_that_share_memory_with_themselves_can_be_filled(tensor: torch.Tensor, tmp_path: Path) -> None:
    module = nn.Linear(4, 3)
    module.register_buffer("stored", tensor)
    before = {name: one.clone() for name, one in module.state_dict().items()}
    weights.write(module.state_dict(), tmp_path / "w.safetensors")
    weights.put(weights.read(tmp_path / "w.safetensors"), module, tmp_path)
    assert all(torch.equal(one, before[name]) for name, one in module.state_dict().items())
