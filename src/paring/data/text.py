"""Texts and their classes, as a task."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional

from paring.core.errors import ParingError, UnknownName
from paring.core.model import Json, TensorSpec
from paring.core.task import SPLITS, Batch, Split
from paring.data.order import Pass
from paring.data.splits import Indices
from paring.data.tokens import Tokens


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
    """

    name: str
    labels: tuple[str, ...]
    tokens: Tokens
    targets: Indices
    splits: Mapping[Split, Indices]
    content: str

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
        """Digest of content and splits."""
        digest = hashlib.sha256(json.dumps([self.content, self.labels, dict(self.preprocessing)]).encode())
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
        """The texts of a split, see `paring.core.task.Task.batches`; `augment` changes nothing."""
        width = None if split == "train" else self.tokens.length
        where = f"{self.name}, {split}"
        for portion in Pass(batch_size, limit, shuffle, shard, skip).portions(self._members(split), where):
            targets = torch.from_numpy(self.targets[portion.indices])
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

    def _members(self, split: Split) -> Indices:
        if split not in self.splits:
            raise UnknownName.of("split", split, self.splits, self.name)
        return self.splits[split]
