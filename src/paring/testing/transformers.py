"""Transformers in small, of random weights, and a task for any model."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from paring.core.model import Model
from paring.core.target import one_sample
from paring.core.task import Batch, Split
from paring.testing.models import TinyTask

if TYPE_CHECKING:
    from torch import Tensor, nn

_VIT: Mapping[str, Any] = {
    "image_size": 8, "patch_size": 4, "num_channels": 1, "hidden_size": 32, "intermediate_size": 64,
    "num_hidden_layers": 2, "num_attention_heads": 4,
}  # fmt: skip
_TEXT: Mapping[str, Any] = {"vocab_size": 50, "max_position_embeddings": 32}
_BERT: Mapping[str, Any] = {
    **_TEXT,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}
FAMILIES: Mapping[str, Mapping[str, Any]] = {
    "distilbert": {**_TEXT, "dim": 32, "hidden_dim": 64, "n_layers": 2, "n_heads": 4},
    "bert": _BERT,
    "mobilebert": {**_BERT, "embedding_size": 16, "intra_bottleneck_size": 16, "true_hidden_size": 16},
    "squeezebert": {
        **_BERT, "embedding_size": 32, **{f"{name}_groups": 2 for name in ("q", "k", "v", "intermediate", "output")},
    },
    "vit": _VIT,
    "deit": _VIT,
    "swin": {
        "image_size": 16, "patch_size": 2, "num_channels": 1, "embed_dim": 16, "depths": [2, 2], "num_heads": [2, 4],
        "window_size": 4,
    },
    "mobilevit": {
        "image_size": 32, "num_channels": 1, "hidden_sizes": [16, 16, 16], "num_attention_heads": 2,
        "neck_hidden_sizes": [8, 8, 8, 8, 8, 8, 16],
    },
}  # fmt: skip


def family(kind: str, **changes: Any) -> Model:
    """A small model of that kind, with weights so large that every layer counts in its answers.

    Args:
        kind: key in `FAMILIES`.
        changes: of its configuration.
    """
    import torch

    from paring import load

    config = {**FAMILIES[kind], **changes}
    edge = config.get("image_size")
    model = load.open(f"hf:{kind}(config={config}, classes=10)", shape=(1, edge, edge) if edge else None)
    chance = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.module.named_parameters():
            norm = parameter.ndim == 1 and name.endswith("weight")
            scale = 0.1 if parameter.ndim == 1 else 1.5 * parameter[0].numel() ** -0.5
            parameter.copy_(torch.randn(parameter.shape, generator=chance) * scale + norm)
    return replace(model, history=())


def checkpoint(kind: str, values: Mapping[str, Any], path: Path, auto: Any = None) -> "nn.Module":
    """Writes a checkpoint of random weights; gives the model as transformers has it.

    Args:
        kind: of architecture, as in `model_type`.
        values: of its configuration.
        path: a folder.
        auto: class of transformers that makes it; the one for classifiers if left out.
    """
    import torch

    from paring.core.quiet import quiet

    with quiet():
        import transformers
        from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES as IMAGES

        way = "Image" if kind in IMAGES else "Sequence"
        auto = auto or getattr(transformers, f"AutoModelFor{way}Classification")
        torch.manual_seed(5)
        config = transformers.AutoConfig.for_model(kind, **values)
        config.architectures = []
        model: nn.Module = auto.from_config(config).eval()
        for name, tensor in model.state_dict().items():
            if tensor.is_floating_point() and "running_var" not in name:
                tensor.add_(torch.randn_like(tensor) * 0.05)
        model.save_pretrained(path)  # type: ignore[operator]
    return model


def rewritten(path: Path, **values: Any) -> None:
    """Puts other values into a checkpoint's configuration."""
    config = json.loads((path / "config.json").read_text(encoding="utf-8"))
    (path / "config.json").write_text(json.dumps({**config, **values}), encoding="utf-8")


class Drawn(TinyTask):
    """Samples drawn at random for the inputs of a model."""

    def __init__(self, model: Model) -> None:
        self._model = model

    def batches(self, split: Split, batch_size: int, **options: Any) -> Iterator[Batch]:
        """Eight samples, all of one class each; half of the texts end in padding."""
        import numpy as np
        import torch

        samples = [one_sample(self._model.inputs, seed) for seed in range(8)]
        inputs = {name: torch.from_numpy(np.concatenate([one[name] for one in samples])) for name in samples[0]}
        if "attention_mask" in inputs:
            inputs["attention_mask"][:] = 1
            inputs["attention_mask"][:4, -5:] = 0
        yield Batch(inputs, torch.arange(8))


def drawn(model: Model) -> "dict[str, Tensor]":
    """Inputs of eight samples."""
    return dict(next(Drawn(model).batches("test", 8)).inputs)
