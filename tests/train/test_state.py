"""The state of a training on disk."""

import random

import pytest
import torch

from paring.train.state import CorruptStateError, load_state, save_state


def tree():
    shared = torch.arange(24.0).reshape(2, 3, 2, 2)
    return {
        "weights": {"a": shared, "b": shared, "last": shared.to(memory_format=torch.channels_last)},
        "scalars": [torch.tensor(3), torch.tensor(2.5, dtype=torch.bfloat16), torch.empty(0)],
        "chance": torch.get_rng_state(),
        "rate": 0.1 + 0.2,
        "betas": (0.9, 0.999),
        "none": None,
    }


def test_what_is_read_is_what_was_written(tmp_path):
    path, written = tmp_path / "state.safetensors", tree()
    save_state(path, "mine", written)
    read = load_state(path, "mine")
    for name, tensor in written["weights"].items():
        assert torch.equal(read["weights"][name], tensor)
        assert read["weights"][name].stride() == tensor.stride()
    for got, tensor in zip(read["scalars"], written["scalars"], strict=True):
        assert got.dtype == tensor.dtype
        assert torch.equal(got, tensor)
    assert torch.equal(read["chance"], written["chance"])
    assert (read["rate"], read["betas"], read["none"]) == (0.1 + 0.2, [0.9, 0.999], None)


def test_no_file_and_a_file_of_another_training_are_no_state(tmp_path):
    path = tmp_path / "state.safetensors"
    assert load_state(path, "mine") is None
    save_state(path, "mine", tree())
    assert load_state(path, "yours") is None


def test_every_truncation_and_every_flipped_bit_is_found(tmp_path):
    path = tmp_path / "state.safetensors"
    save_state(path, "mine", tree())
    data = path.read_bytes()
    chance = random.Random(0)  # noqa: S311 - no secret
    for length in [0, 1, 8, len(data) - 1, *(chance.randrange(len(data)) for _ in range(30))]:
        path.write_bytes(data[:length])
        with pytest.raises(CorruptStateError):
            load_state(path, "mine")
    for bit in chance.sample(range(8 * len(data)), 600):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        try:
            read = load_state(path, "mine")
        except CorruptStateError:
            continue
        # What is left are bits without meaning, such as blanks between the parts of the header.
        path.write_bytes(data)
        expected = load_state(path, "mine")
        assert all(torch.equal(read["weights"][name], expected["weights"][name]) for name in expected["weights"])
        assert all(map(torch.equal, read["scalars"], expected["scalars"]))
        assert torch.equal(read["chance"], expected["chance"])
        assert read["rate"] == expected["rate"]
