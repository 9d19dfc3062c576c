"""Transformers answer the same in ExecuTorch."""

from pathlib import Path

import numpy as np
import pytest
import torch

from paring import load
from paring.core.target import one_sample
from paring.targets.executorch import ExecuTorch

_BERT = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 50,
    "max_position_embeddings": 32,
}  # fmt: skip
FAMILIES = {
    "distilbert": {
        "dim": 32, "hidden_dim": 64, "n_layers": 1, "n_heads": 2, "vocab_size": 50, "max_position_embeddings": 32,
    },
    "bert": _BERT,
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("kind", FAMILIES)
def test_a_text_model_answers_as_in_torch(kind: str, tmp_path: Path) -> None:
    model, target = load.open(f"hf:{kind}(config={FAMILIES[kind]}, head='classify')"), ExecuTorch()
    assert not target.check(model)
    runner = target.open(target.export(model, tmp_path / "m.pte"))
    for seed in range(3):
        sample = one_sample(model.inputs, seed)
        wanted = model({name: torch.from_numpy(array) for name, array in sample.items()})["output"].numpy()
        assert np.abs(runner.run(sample)["output"] - wanted).max() <= 1e-4 * max(1, np.abs(wanted).max())
