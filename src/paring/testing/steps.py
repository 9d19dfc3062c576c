"""What every step must keep. Subclass `StepContract` in a step's tests and give the fixtures `step` and `config`."""

from pathlib import Path
from typing import get_args

import pytest
import torch
from pydantic import ValidationError

from paring.core.codes import Stored
from paring.core.model import Model
from paring.core.step import Context, Step, StepConfig
from paring.core.target import Limits
from paring.load import saved
from paring.steps import STEPS, keep_invariants
from paring.testing.models import TinyTask, tiny


class StepContract:
    """A step is a function from a model to a new model."""

    @pytest.fixture
    def step(self) -> Step:
        """The step under test."""
        raise NotImplementedError

    @pytest.fixture
    def config(self, step: Step) -> StepConfig:
        """Options to test it with."""
        return step.Config()

    @pytest.fixture
    def model(self) -> Model:
        """What it is applied to."""
        return tiny()

    @pytest.fixture
    def context(self, model: Model, tmp_path: Path) -> Context:
        """A small task, and a target that can execute everything."""
        every = frozenset({"float32", "int8", "int4", "int16"})
        kinds = ("linear", "conv", "depthwise", "embedding")
        stored = frozenset((dtype, kind, 0) for dtype in get_args(Stored) for kind in kinds)
        limits = Limits(every, every, dynamic=stored, stored=stored)
        return Context(TinyTask(), limits, 0, model, tmp_path / "work")

    @pytest.fixture
    def result(self, step: Step, model: Model, config: StepConfig, context: Context) -> Model:
        """The model that the step makes."""
        return step.apply(model, config, context)

    def test_it_is_registered_under_its_name(self, step: Step) -> None:
        assert STEPS.load(step.name) is type(step)

    def test_its_input_is_untouched(self, step: Step, model: Model, config: StepConfig, context: Context) -> None:
        before = {name: tensor.clone() for name, tensor in model.module.state_dict().items()}
        modules = [type(module) for module in model.module.modules()]
        step.apply(model, config, context)
        after = model.module.state_dict()
        assert before.keys() == after.keys()
        assert all(torch.equal(before[name], after[name]) for name in before)
        assert modules == [type(module) for module in model.module.modules()]
        assert not model.history

    def test_it_gives_a_new_module_in_eval_mode(self, result: Model, model: Model) -> None:
        assert result.module is not model.module
        assert not any(module.training for module in result.module.modules())

    def test_it_writes_itself_into_the_history(self, step: Step, config: StepConfig, result: Model) -> None:
        event = result.history[-1]
        assert event.step == step.name
        assert event.config == config.model_dump(mode="json")
        assert event.changed

    def test_inputs_and_outputs_stay(self, model: Model, result: Model) -> None:
        batch = next(iter(TinyTask().batches("test", 3)))
        assert result.inputs == model.inputs
        assert result(batch.inputs)["output"].shape == model(batch.inputs)["output"].shape

    def test_any_batch_size_is_taken(self, result: Model) -> None:
        batch = next(iter(TinyTask().batches("test", 7)))
        whole = result(batch.inputs)["output"]
        one = result({name: tensor[:1] for name, tensor in batch.inputs.items()})["output"]
        torch.testing.assert_close(one, whole[:1], rtol=1e-3, atol=1e-4)

    def test_the_same_seed_gives_the_same_bits(
        self, step: Step, model: Model, config: StepConfig, context: Context, result: Model
    ) -> None:
        again = step.apply(model, config, context).module.state_dict()
        assert all(torch.equal(tensor, again[name]) for name, tensor in result.module.state_dict().items())

    def test_saved_and_loaded_it_answers_bit_for_bit(self, result: Model, tmp_path: Path) -> None:
        batch = next(iter(TinyTask().batches("test", 5)))
        again = saved.load(saved.save(result, tmp_path / "model.safetensors"))
        assert torch.equal(again(batch.inputs)["output"], result(batch.inputs)["output"])
        assert (again.edits, again.invariants, again.history) == (result.edits, result.invariants, result.history)

    def test_its_invariants_hold(self, result: Model) -> None:
        keep_invariants(result)

    def test_options_are_frozen_and_unknown_ones_refused(self, step: Step, config: StepConfig) -> None:
        with pytest.raises(ValidationError):
            step.Config.model_validate({"no_such_option": 1})
        with pytest.raises(ValidationError):
            setattr(config, next(iter(type(config).model_fields)), None)
