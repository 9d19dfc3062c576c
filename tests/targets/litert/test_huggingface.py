"""Every family of transformers that the door promises answers the same in LiteRT."""

from pathlib import Path

import numpy as np
import pytest
import torch

from paring import load
from paring.core.target import one_sample
from paring.targets.litert import LiteRT

_BERT = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 50,
    "max_position_embeddings": 32,
}  # fmt: skip
_VIT = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 32,
    "patch_size": 8,
}  # fmt: skip
FAMILIES = {
    "distilbert": {
        "dim": 32, "hidden_dim": 64, "n_layers": 2, "n_heads": 2, "vocab_size": 50, "max_position_embeddings": 32,
    },
    "bert": _BERT,
    "mobilebert": {
        **_BERT, "intermediate_size": 32, "embedding_size": 16, "intra_bottleneck_size": 16, "true_hidden_size": 16,
    },
    "mobilenet_v1": {"depth_multiplier": 0.25, "image_size": 32},
    "mobilenet_v2": {"depth_multiplier": 0.25, "image_size": 32},
    "mobilevit": {
        "image_size": 64, "hidden_sizes": [16, 24, 32], "neck_hidden_sizes": [8, 16, 16, 24, 24, 32, 64],
    },
    "resnet": {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"},
    "vit": _VIT,
    "deit": _VIT,
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("head", ["classify", "encode"])
@pytest.mark.parametrize("kind", FAMILIES)
def test_it_answers_as_in_torch(kind: str, head: str, tmp_path: Path) -> None:
    texts = kind in {"distilbert", "bert", "mobilebert"}
    if head == "encode" and not texts:
        pytest.skip("encoders are of texts")
    shape = None if texts else (3, 64, 64) if kind == "mobilevit" else (3, 32, 32)
    model = load.open(f"hf:{kind}(config={FAMILIES[kind]}, head={head!r})", shape=shape)
    target = LiteRT()
    assert not target.check(model)
    runner = target.open(target.export(model, tmp_path / "model.tflite"))
    for seed in range(3):
        sample = one_sample(model.inputs, seed)
        wanted = model({name: torch.from_numpy(array) for name, array in sample.items()})["output"].numpy()
        found = runner.run(sample)["output"]
        assert np.abs(found - wanted).max() <= 1e-4 * max(1, np.abs(wanted).max())
