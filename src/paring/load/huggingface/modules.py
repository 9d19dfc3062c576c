"""Thin modules around a transformers model: tensors by position in, one tensor out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from paring.core.model import Json


class TextClassifier(nn.Module):
    """Token ids and masks, int64 (batch, length), to logits (batch, classes)."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None) -> Tensor:
        """Logits, float32."""
        logits: Tensor = self.model(**_given(input_ids, attention_mask, token_type_ids)).logits
        return logits


class Encoder(nn.Module):
    """Token ids and masks, int64 (batch, length), to one vector for each text (batch, width).

    Args:
        model: gives a hidden state for each token.
        mode: `mean` over the tokens that the mask keeps, or the state of the first (`cls`).
        normalize: to length 1.
    """

    def __init__(self, model: nn.Module, mode: Literal["mean", "cls"], normalize: bool) -> None:
        super().__init__()
        self.model, self.mode, self.normalize = model, mode, normalize

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None) -> Tensor:
        """Vectors, float32."""
        states: Tensor = self.model(**_given(input_ids, attention_mask, token_type_ids)).last_hidden_state
        if self.mode == "cls":
            pooled = states[:, 0]
        else:
            mask = attention_mask[:, :, None].to(states.dtype)
            pooled = (states * mask).sum(1) / mask.sum(1).clamp(min=1e-9)
        return functional.normalize(pooled, dim=1) if self.normalize else pooled


class ImageClassifier(nn.Module):
    """Images, float32 NCHW, to logits (batch, classes).

    Args:
        model: takes `pixel_values`.
        rescale: `{"factor", "offset", "reverse"}`: what brings the task's images, channel by channel, to those that the
            checkpoint was trained on (`reverse`: channels in the other order); None where they are the same.
    """

    factor: Tensor
    offset: Tensor

    def __init__(self, model: nn.Module, rescale: Mapping[str, Json] | None) -> None:
        super().__init__()
        self.model, self.rescale = model, rescale
        if rescale is not None:
            for name in ("factor", "offset"):
                self.register_buffer(name, torch.tensor(rescale[name]).reshape(1, -1, 1, 1), persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        """Logits, float32."""
        if self.rescale is not None:
            image = image * self.factor + self.offset
            if self.rescale["reverse"]:
                image = image.flip(1)
        logits: Tensor = self.model(pixel_values=image).logits
        return logits


def rescaling(processor: Mapping[str, Json] | None, task: Mapping[str, Json]) -> dict[str, Json] | None:
    """From a task's normalized images to a processor's: x_p = x_t · (d_t s_p)/(s_t d_p) + (m_t s_p/s_t − m_p)/d_p.

    Args:
        processor: of the checkpoint (`preprocessor_config.json`).
        task: its `preprocessing`: scale s, mean m, std d of each channel.
    """
    if processor is None or not {"scale", "mean", "std"} <= task.keys():
        return None
    channels = len(task["mean"])
    scale = float(processor.get("rescale_factor", 1 / 255)) if processor.get("do_rescale", True) else 1.0
    normalized = bool(processor.get("do_normalize", processor.get("image_mean") is not None))
    mean = _each(processor.get("image_mean") if normalized else None, 0.0, channels)
    std = _each(processor.get("image_std") if normalized else None, 1.0, channels)
    if len(mean) != channels or len(std) != channels:
        return None
    reverse = bool(processor.get("do_flip_channel_order", False))
    if reverse:  # the processor's values belong to the channels as the model takes them
        mean, std = mean[::-1], std[::-1]
    own = list(zip(task["mean"], task["std"], strict=True))
    factor = [d * scale / (task["scale"] * dp) for (_, d), dp in zip(own, std, strict=True)]
    offset = [(m * scale / task["scale"] - mp) / dp for (m, _), mp, dp in zip(own, mean, std, strict=True)]
    same = all(abs(f - 1) < 1e-4 for f in factor) and all(abs(o) < 1e-4 for o in offset)
    return None if same and not reverse else {"factor": factor, "offset": offset, "reverse": reverse}


def _each(values: Sequence[float] | None, default: float, channels: int) -> list[float]:
    return [default] * channels if values is None else [float(value) for value in values]


def _given(input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None) -> dict[str, Any]:
    given = {"input_ids": input_ids, "attention_mask": attention_mask}
    return given if token_type_ids is None else {**given, "token_type_ids": token_type_ids}
