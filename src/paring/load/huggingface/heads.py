"""What a checkpoint was made for, read from its configuration before anything is loaded.

`architectures` names the class that wrote the weights. One with another head than a classifier's would load all the
same, its own head left out and a new one drawn at random: its answers would mean nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from torch import nn

from paring.core.errors import ParingError, UnknownName
from paring.core.model import Json
from paring.core.quiet import quiet
from paring.load.huggingface.files import Checkpoint

with quiet():
    from transformers.models.auto import modeling_auto as known
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

Head = Literal["classify", "encode"]
Made = Literal["classifier", "base", ""]
_IMAGES: Mapping[str, Any] = known.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES
_TEXTS: Mapping[str, Any] = known.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES
OTHER_WAY = (
    "write a factory that gives the transformers model, its answers as a tuple or dictionary of tensors, and name it "
    "torch:package.module:factory"
)


def is_text(checkpoint: Checkpoint) -> bool:
    """Whether a checkpoint takes texts; if not, it takes images.

    Raises:
        ParingError: its architecture takes neither, or there is none of that name.
    """
    kind = checkpoint.config["model_type"]
    if kind in _IMAGES or kind in _TEXTS:
        return kind not in _IMAGES
    if kind in CONFIG_MAPPING_NAMES:
        raise ParingError(f"{kind} is no classifier of images or texts, nor an encoder", checkpoint.name, OTHER_WAY)
    raise UnknownName.of("architecture for images or texts", kind, {**_IMAGES, **_TEXTS}, where=checkpoint.name)


def made_for(checkpoint: Checkpoint, head: Head | None) -> Made:
    """What wrote the weights: a classifier, a network without a head, or nothing that the configuration names.

    Args:
        checkpoint: whose `architectures` are read.
        head: that the entry asks for. Whoever asks for one knows that the checkpoint's own is left out.

    Raises:
        ParingError: they belong to another head, for which there is no task.
    """
    names = checkpoint.config.get("architectures") or []
    if set(names) & (_names(_IMAGES) | _names(_TEXTS)):
        return "classifier"
    if not names:
        return ""
    bare = {name for name in _names(known.MODEL_MAPPING_NAMES) if not re.search("For[A-Z]", name)}
    if checkpoint.given or checkpoint.pooling or head is not None or set(names) & bare:
        return "base"  # with a pooling it is an encoder of sentences, whatever head its body was trained with
    raise ParingError(
        f"was made by {names[0]}, whose head is neither that of a classifier of images or texts nor of an encoder",
        checkpoint.name,
        f"{OTHER_WAY}; head='classify' or head='encode' takes its body alone, with a new classifier to be trained",
    )


def chosen(checkpoint: Checkpoint, made: Made, head: Head | None, *, text: bool, labelled: bool, task: bool) -> Head:
    """The head that a model gets.

    Args:
        checkpoint: for messages, and for how its vectors are pooled.
        made: what wrote its weights.
        head: that the entry asks for.
        text: whether it takes texts.
        labelled: whether the task or the entry says how many classes there are.
        task: whether there is one.

    Raises:
        ParingError: it has no classifier, and nothing says for how many classes a new one is to be drawn.
    """
    if head is not None:
        return head
    if made == "base" and text and not labelled and not task:
        return "encode"
    if made == "base" and not text and not labelled and not checkpoint.given:
        raise ParingError("has no classifier", checkpoint.name, "name the data, or classes=N: a new one is drawn then")
    return "encode" if not made and checkpoint.pooling and not labelled and not task else "classify"


def answers(config: Mapping[str, Json]) -> str:
    """What a classifier's answers are where they are not one of several classes; else empty."""
    kind = config.get("problem_type")
    if kind == "multi_label_classification":
        return "a score for each label on its own (problem_type: multi_label_classification)"
    if kind == "regression" or len(config.get("id2label") or ()) == 1 or config.get("num_labels") == 1:
        return "numbers, not classes (problem_type: regression, or one label)"
    return ""


def missing(names: Iterable[str], module: nn.Module) -> list[str]:
    """Those of the tensors that a checkpoint lacks which are no head's: without them the network is another one.

    A pooler counts as head: most checkpoints leave it out, and whoever reads it is told that it was drawn.
    """
    base, prefix = _base(module), f"{module.base_model_prefix}."
    return sorted(one for one in names if not _apart(one) and (base is module or one.startswith(prefix)))


def spare(names: Iterable[str], module: nn.Module) -> list[str]:
    """Those of the tensors that an architecture lacks which are no head's, e.g. of layers that it is built without."""
    parts, prefix = dict(_base(module).named_children()), f"{module.base_model_prefix}."
    return sorted(
        one for one in names if not _apart(one) and (one.startswith(prefix) or one.partition(".")[0] in parts)
    )


def _base(module: nn.Module) -> nn.Module:
    """The network without its head."""
    found: nn.Module = getattr(module, str(module.base_model_prefix), module)
    return found


def _apart(name: str) -> bool:
    """A pooler, and what old checkpoints hold and new ones compute."""
    return ".pooler." in f".{name}" or name.endswith(("position_ids", "num_batches_tracked"))


def _names(table: Mapping[str, Any]) -> set[str]:
    """The classes of a table; some types have several."""
    return {name for value in table.values() for name in ((value,) if isinstance(value, str) else value)}
