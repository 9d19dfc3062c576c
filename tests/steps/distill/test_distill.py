"""`distill`."""

import pytest
import torch

from paring.core.errors import ParingError
from paring.steps.distill.distill import Distill, DistillConfig
from paring.testing.models import quantized, tiny
from paring.testing.steps import StepContract


class TestDistill(StepContract):
    @pytest.fixture
    def step(self):
        return Distill()

    @pytest.fixture
    def config(self):
        return DistillConfig.model_validate(
            {"steps": 6, "batch_size": 16, "features": ["hints", "hidden_cosine"], "teacher_share": 0.9}
        )

    def test_it_learns_what_the_teacher_would_answer(self, step, context, tmp_path):
        from dataclasses import replace

        config = DistillConfig.model_validate(
            {"epochs": 12, "batch_size": 16, "learning_rate": 0.1, "teacher_share": 1.0, "temperature": 2.0}
        )
        taught = step.apply(tiny(5), config, replace(context, original=tiny(1)))
        batch = next(iter(context.task.batches("test", 48)))
        answers = {seed: tiny(seed)(batch.inputs)["output"].softmax(1) for seed in (1, 5)}
        found = taught(batch.inputs)["output"].softmax(1)
        assert (found - answers[1]).abs().mean() < 0.6 * (answers[5] - answers[1]).abs().mean()

    def test_zeros_stay(self, step, context):
        from paring.steps.prune.magnitude import MagnitudeConfig, PruneMagnitude

        sparse = PruneMagnitude().apply(tiny(), MagnitudeConfig(sparsity=0.5, scope="layer"), context)
        config = DistillConfig.model_validate({"steps": 3, "batch_size": 16, "features": "hints"})
        found = step.apply(sparse, config, context).module.state_dict()
        for name, tensor in sparse.module.state_dict().items():
            if tensor.ndim > 1 and (tensor == 0).any():
                assert (found[name][tensor == 0] == 0).all()
                assert not torch.equal(found[name], tensor)

    def test_a_quantized_model_is_refused(self, step, config, context):
        with pytest.raises(ParingError, match="place distill before the quantization step"):
            step.apply(quantized(), config, context)
