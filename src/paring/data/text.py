"""Texts and their classes, as a task."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from paring.core.errors import ParingError, UnknownName
from paring.core.model import Json, TensorSpec
from paring.core.task import SPLITS, Batch, Split
from paring.data.order import Pass
from paring.data.splits import Indices
from paring.data.tokens import Tokens
from paring.data.variation import Draws, Text, Variation, by_class, chosen, drawn


@dataclass(frozen=True)
class TextTask:
    """Text classification: inputs `input_ids`, `attention_mask`, `token_type_ids`, int64 (batch, length).

    A training batch is as wide as its longest text, rounded up to a multiple of 8; all other batches have the full
    length, which an exported file has too.

    Attributes:
        name: as the user named it.
        labels: names of the classes.
        tokens: of all texts.
        targets: the class of every text.
        splits: the texts of each split.
        content: hex digest of texts, tokenizer and length.
        variation: what `augment` does; None for texts of two parts, which stay as they are.
    """

    name: str
    labels: tuple[str, ...]
    tokens: Tokens
    targets: Indices
    splits: Mapping[Split, Indices]
    content: str
    variation: Variation | None

    @cached_property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """Ids, mask and types of tokens; the length is free."""
        highest = {"input_ids": self.tokens.vocabulary - 1, "attention_mask": 1, "token_type_ids": 1}
        free = {"length": self.tokens.length}
        return tuple(
            TensorSpec(name, ("batch", "length"), "int64", range=(0, high), free=free) for name, high in highest.items()
        )

    @cached_property
    def preprocessing(self) -> Mapping[str, Json]:
        """From a text to inputs: the model's tokenizer, cut and padded to `length`."""
        side = "left" if self.tokens.left else "right"
        return {"tokenizer": "tokenizer.json", "length": self.tokens.length, "pad": self.tokens.pad, "side": side}

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the figures must not miss."""
        cut, count = self.tokens.truncated, len(self.targets)
        if not cut:
            return ()
        return (f"{cut} of {count} texts were longer than {self.tokens.length} tokens and were cut.",)

    @cached_property
    def identity(self) -> str:
        """Digest of content, splits and augmentation."""
        variation = self.variation and self.variation.model_dump()
        facts = [self.content, self.labels, dict(self.preprocessing), variation]
        digest = hashlib.sha256(json.dumps(facts).encode())
        for split in SPLITS:
            digest.update(self.splits[split].tobytes())
        return digest.hexdigest()

    def size(self, split: Split) -> int:
        """Number of texts in a split."""
        return len(self._members(split))

    def batches(
        self,
        split: Split,
        batch_size: int,
        *,
        limit: int | None = None,
        shuffle: int | None = None,
        augment: bool = False,
        shard: tuple[int, int] = (0, 1),
        skip: int = 0,
    ) -> Iterator[Batch]:
        """The texts of a split, see `paring.core.task.Task.batches`."""
        members, where = self._members(split), f"{self.name}, {split}"
        width = None if split == "train" else self.tokens.length
        variation = self.variation if augment else None
        classes = by_class(members[:limit], self.targets) if variation else {}
        for portion in Pass(batch_size, limit, shuffle, shard, skip).portions(members, where):
            targets = torch.from_numpy(self.targets[portion.indices])
            if variation:
                draws = drawn(shuffle or 0, portion, shard, self.tokens.length)
                yield Batch(self.tokens.padded(self._varied(portion.indices, variation, classes, draws)), targets)
            else:
                yield Batch(self.tokens.batch(portion.indices, width), targets, torch.from_numpy(portion.indices))

    def loss(self, outputs: Mapping[str, Tensor], targets: Tensor, label_smoothing: float = 0.0) -> Tensor:
        """Cross-entropy, the mean over a batch."""
        if len(outputs) != 1:
            raise ParingError(
                f"classification has one output, the model has {len(outputs)}: {', '.join(outputs)}",
                self.name,
                "keep only the output that holds a value for each class",
            )
        (logits,) = outputs.values()
        return functional.cross_entropy(logits, targets, label_smoothing=label_smoothing)

    def _varied(
        self, indices: Indices, variation: Variation, classes: Mapping[int, Indices], draws: Sequence[Draws]
    ) -> list[Text]:
        """Texts, each changed between the tokens that stand around every text."""
        before, after = self.tokens.edges
        room = self.tokens.length - before - after
        others = self.tokens.texts(chosen(classes, self.targets[indices], draws))
        found = []
        for text, other, draw in zip(self.tokens.texts(indices), others, draws, strict=True):
            end = len(text) - after
            body = variation(text[before:end], other[before : len(other) - after], draw, room)
            found.append(np.concatenate((text[:before], body, text[end:])))
        return found

    def _members(self, split: Split) -> Indices:
        if split not in self.splits:
            raise UnknownName.of("split", split, self.splits, self.name)
        return self.splits[split]
