"""What every front door must keep. Subclass `DoorContract` and give the fixtures `text`, `shape` and `original`."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from paring import load
from paring.core.errors import ParingError
from paring.core.model import Model
from paring.load import prove, saved

Original = Callable[..., torch.Tensor | tuple[torch.Tensor, ...]]


class DoorContract:
    """What comes in answers as the original does, and can be saved and loaded."""

    @pytest.fixture
    def text(self) -> str:
        """What a recipe writes under `model`."""
        raise NotImplementedError

    @pytest.fixture
    def shape(self) -> tuple[int, ...]:
        """Of one sample."""
        raise NotImplementedError

    @pytest.fixture
    def original(self) -> Original:
        """The model as its own framework has it, with weights of its own, in eval mode.

        Called with tensors as the working form takes them, in order, it gives its outputs as the working form lays
        them out. An `nn.Module` will do where the two are the same.
        """
        raise NotImplementedError

    @pytest.fixture
    def weights(self, original: Original, tmp_path: Path) -> Path | None:
        """A file with the original's weights; None where `text` brings them."""
        from safetensors.torch import save_file

        assert isinstance(original, nn.Module)

        path = tmp_path / "weights.safetensors"
        save_file({name: tensor.contiguous() for name, tensor in original.state_dict().items()}, path)
        return path

    @pytest.fixture
    def model(self, text: str, shape: tuple[int, ...], weights: Path | None) -> Model:
        """What the door makes of it."""
        return load.open(text, weights=weights, shape=shape)

    @pytest.fixture
    def batch(self, model: Model) -> tuple[torch.Tensor, ...]:
        """Random inputs, and extreme ones."""
        return tuple(torch.from_numpy(array) for array in prove.samples(model.inputs))

    def test_it_answers_as_the_original_does(
        self, model: Model, original: Original, batch: tuple[torch.Tensor, ...]
    ) -> None:
        with torch.inference_mode():
            wanted = original(*batch)
        wanted = wanted if isinstance(wanted, tuple) else (wanted,)
        for found, one in zip(answers(model, batch).values(), wanted, strict=True):
            assert prove.difference(found.numpy(), one.numpy()) <= prove.TOLERANCE

    def test_it_is_in_eval_mode(self, model: Model) -> None:
        assert not any(module.training for module in model.module.modules())

    def test_saved_and_loaded_it_answers_bit_for_bit(
        self, model: Model, batch: tuple[torch.Tensor, ...], tmp_path: Path
    ) -> None:
        again = saved.load(saved.save(model, tmp_path / "model.safetensors"))
        for found, wanted in zip(answers(again, batch).values(), answers(model, batch).values(), strict=True):
            assert torch.equal(found, wanted)
        assert (again.source, again.inputs, again.outputs) == (model.source, model.inputs, model.outputs)

    def test_another_shape_is_refused(self, text: str, shape: tuple[int, ...], weights: Path | None) -> None:
        with pytest.raises(ParingError):
            load.open(text, weights=weights, shape=(shape[0] + 1, *shape[1:]))


def answers(model: Model, batch: tuple[torch.Tensor, ...]) -> dict[str, torch.Tensor]:
    """What the model gives for tensors in the order of its inputs."""
    return model({spec.name: tensor for spec, tensor in zip(model.inputs, batch, strict=True)})
