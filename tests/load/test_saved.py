"""A saved model comes back as it was, or an error says what is wrong with the files."""

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from paring import load
from paring.core.errors import ParingError
from paring.core.model import Event, Skipped
from paring.load import saved
from paring.testing.models import quantized, tiny
from paring.testing.networks import TinyNetwork


@pytest.fixture
def path(tmp_path: Path) -> Path:
    model = tiny()
    changed = model.changed(model.module, Event("finetune", {"epochs": 1}, "a line", (Skipped("stem", "why"),)))
    return saved.save(changed, tmp_path / "m.safetensors", {"accuracy": 12.5})


def test_everything_comes_back(path: Path) -> None:
    model, again = tiny(), load.open(str(path))
    image = torch.randn(3, 1, 8, 8)
    assert torch.equal(again({"image": image})["output"], model({"image": image})["output"])
    assert again.history == (Event("finetune", {"epochs": 1}, "a line", (Skipped("stem", "why"),)),)
    assert saved.notes(path) == {"accuracy": 12.5}
    assert saved.last_event(path) == again.history[-1]


@pytest.mark.parametrize("way", ["m.json", "m.safetensors", ""])
def test_file_description_and_folder_lead_to_it(path: Path, way: str) -> None:
    if not way:
        for file in (path, path.with_suffix(".json")):
            file.rename(file.with_stem("model"))
    assert load.open(str(path.parent / way)).source == tiny().source


def test_a_quantized_model_comes_back_bit_for_bit(tmp_path: Path) -> None:
    model = quantized()
    again = saved.load(saved.save(model, tmp_path / "q.safetensors"))
    image = torch.randn(3, 1, 8, 8)
    assert torch.equal(again({"image": image})["output"], model({"image": image})["output"])
    assert again.quantized


def test_the_digest_tells_models_apart() -> None:
    assert saved.digest(tiny()) == saved.digest(tiny())
    assert len({saved.digest(tiny()), saved.digest(tiny(seed=1)), saved.digest(quantized())}) == 3


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_a_flipped_bit_is_noticed(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = saved.save(tiny(), tmp_path_factory.mktemp("flip") / "m.safetensors")
    content = bytearray(path.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content)
    with pytest.raises(ParingError, match="damaged"):
        load.open(str(path))


@pytest.mark.parametrize("keep", [0, 10, 0.5, 0.99])
def test_a_truncated_file_is_noticed(path: Path, keep: float) -> None:
    for file in (path, path.with_suffix(".json")):
        content = file.read_bytes()
        file.write_bytes(content[: int(keep if keep > 1 else keep * len(content))])
        with pytest.raises(ParingError, match="damaged"):
            load.open(str(path))
        file.write_bytes(content)


def test_a_missing_part_is_named(path: Path) -> None:
    path.with_suffix(".json").unlink()
    with pytest.raises(ParingError, match=r"there is no m\.json"):
        load.open(str(path))


def test_a_factory_that_has_changed_is_noticed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tensors fit as before, but the network is another one."""
    forward, unchanged = TinyNetwork.forward, saved.digest(tiny())
    monkeypatch.setattr(TinyNetwork, "forward", lambda self, image: forward(self, image).flip(1))
    with pytest.raises(ParingError, match=r"the code behind torch:paring\.testing\.networks:tiny_network has changed"):
        load.open(str(path))
    assert saved.digest(tiny()) != unchanged


def test_another_version_is_refused(path: Path) -> None:
    described = path.with_suffix(".json")
    described.write_text(json.dumps({**json.loads(described.read_text()), "format": "paring.model/2"}))
    with pytest.raises(ParingError, match="not of the format"):
        load.open(str(path))


def test_nothing_in_the_files_is_a_pickle(path: Path) -> None:
    assert b"torch" not in path.read_bytes()[:2]
    json.loads(path.with_suffix(".json").read_text())
    (size,) = torch.frombuffer(bytearray(path.read_bytes()[:8]), dtype=torch.int64).tolist()
    json.loads(path.read_bytes()[8 : 8 + size])  # safetensors: a JSON header, then plain numbers
