"""Static quantization of networks that read texts of any length behind an attention mask."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from paring import load
from paring.core.model import Model
from paring.core.step import Context
from paring.core.target import one_sample
from paring.core.task import Batch
from paring.measure.accuracy import sqnr
from paring.steps.quantize.static import QuantizeStatic, StaticConfig
from paring.targets.litert import LiteRT
from paring.testing.models import TinyTask

SIZES = {"vocab_size": 50, "max_position_embeddings": 32}
MODELS = {
    "distilbert": {**SIZES, "dim": 32, "hidden_dim": 64, "n_layers": 1, "n_heads": 2},
    "bert": {
        **SIZES, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2,
    },
}  # fmt: skip


class Texts(TinyTask):
    """Token ids drawn at random, a third of each text padding."""

    def __init__(self, model: Model) -> None:
        self.model = model

    def batches(self, split: Any, batch_size: int, **options: Any) -> Iterator[Batch]:
        for seed in range(2):
            samples = [one_sample(self.model.inputs, 10 * seed + i) for i in range(8)]
            inputs = {name: torch.from_numpy(np.concatenate([one[name] for one in samples])) for name in samples[0]}
            inputs["attention_mask"][:, -inputs["attention_mask"].shape[1] // 3 :] = 0
            inputs["attention_mask"][:, 0] = 1
            yield Batch(inputs, torch.zeros(8, dtype=torch.int64))


@pytest.mark.parametrize("kind", MODELS)
def test_masks_stay_float_and_the_rest_is_int8(kind: str, tmp_path: Path) -> None:
    model = load.open(f"hf:{kind}(config={MODELS[kind]}, head='classify')")
    task = Texts(model)
    config = StaticConfig.model_validate({"calibration": {"samples": 16}})
    found = QuantizeStatic().apply(model, config, Context(task, LiteRT.limits, 0, model, tmp_path))
    linear = {name for name, module in model.module.named_modules() if isinstance(module, torch.nn.Linear)}
    assert {one.layer for one in found.invariants} == linear
    scales = next(edit.data["scales"] for edit in found.edits if edit.name == "quantize")
    assert max(scale for scale, _ in scales.values()) < 1
    batch = next(task.batches("test", 8))
    wanted, answers = model(batch.inputs)["output"].numpy(), found(batch.inputs)["output"].numpy()
    assert sqnr(wanted, answers) > 20
    runner = LiteRT().open(LiteRT().export(found, tmp_path / "m.tflite"))
    given = {name: tensor.numpy() for name, tensor in batch.inputs.items()}
    assert sqnr(answers, runner.run(given)["output"]) > 20
