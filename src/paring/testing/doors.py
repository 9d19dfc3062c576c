"""What every front door must keep. Subclass `DoorContract` and give the fixtures `text`, `shape` and `original`."""

from pathlib import Path

import pytest
import torch
from torch import nn

from paring import load
from paring.core.errors import ParingError
from paring.core.model import Model
from paring.load import saved


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
    def original(self) -> nn.Module:
        """The model as its own framework has it, with weights of its own, in eval mode."""
        raise NotImplementedError

    @pytest.fixture
    def weights(self, original: nn.Module, tmp_path: Path) -> Path | None:
        """A file with the original's weights; None where `text` brings them."""
        from safetensors.torch import save_file

        path = tmp_path / "weights.safetensors"
        save_file({name: tensor.contiguous() for name, tensor in original.state_dict().items()}, path)
        return path

    @pytest.fixture
    def model(self, text: str, shape: tuple[int, ...], weights: Path | None) -> Model:
        """What the door makes of it."""
        return load.open(text, weights=weights, shape=shape)

    @pytest.fixture
    def batch(self, shape: tuple[int, ...]) -> torch.Tensor:
        """Random inputs, and extreme ones."""
        chance = torch.Generator().manual_seed(0)
        return torch.cat(
            [torch.randn(3, *shape, generator=chance), torch.zeros(1, *shape), torch.full((1, *shape), 50.0)]
        )

    def test_it_answers_as_the_original_does(self, model: Model, original: nn.Module, batch: torch.Tensor) -> None:
        with torch.inference_mode():
            wanted = original(batch)
        torch.testing.assert_close(model({model.inputs[0].name: batch})["output"], wanted, rtol=1e-4, atol=1e-4)

    def test_it_is_in_eval_mode(self, model: Model) -> None:
        assert not any(module.training for module in model.module.modules())

    def test_saved_and_loaded_it_answers_bit_for_bit(self, model: Model, batch: torch.Tensor, tmp_path: Path) -> None:
        again = saved.load(saved.save(model, tmp_path / "model.safetensors"))
        fed = {model.inputs[0].name: batch}
        assert torch.equal(again(fed)["output"], model(fed)["output"])
        assert (again.source, again.inputs, again.outputs) == (model.source, model.inputs, model.outputs)

    def test_another_shape_is_refused(self, text: str, shape: tuple[int, ...], weights: Path | None) -> None:
        with pytest.raises(ParingError):
            load.open(text, weights=weights, shape=(shape[0] + 1, *shape[1:]))
