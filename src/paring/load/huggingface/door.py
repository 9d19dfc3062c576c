"""The front door `hf:`: image classifiers, text classifiers and sentence encoders of `transformers`."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Mapping
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import nn

from paring.core.entry import Entry
from paring.core.errors import ParingError, UnknownName
from paring.core.model import Event, Json, Model, Source, TensorSpec
from paring.core.quiet import quiet
from paring.core.task import Task, Tokenization
from paring.load import probe
from paring.load.huggingface import files, heads
from paring.load.huggingface.files import Checkpoint
from paring.load.huggingface.modules import Encoder, ImageClassifier, TextClassifier, rescaling

with quiet():
    from transformers import AutoConfig, AutoModel, AutoModelForImageClassification, AutoModelForSequenceClassification

logging.getLogger("transformers").setLevel(logging.ERROR)  # it tells of every default that a forward pass takes
_LENGTH = 128  # tokens, where nothing says otherwise
_OFFSET_POSITIONS = {"roberta", "xlm-roberta", "camembert", "mpnet", "longformer"}  # count from the padding id on


class Options(BaseModel):
    """What an entry may give.

    Attributes:
        head: `classify`, or `encode` for one vector for each text; found from checkpoint and task if left out.
        length: of padded texts, in tokens; the task's, else 128 or the model's limit if left out.
        classes: of a classifier, where there is no task.
        pooling: of an encoder; the checkpoint's own, else `mean`.
        normalize: an encoder's vectors to length 1; as the checkpoint says, else True.
        config: an architecture alone: its values, those of `transformers`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    head: Literal["classify", "encode"] | None = None
    length: int | None = Field(None, ge=2)
    classes: int | None = Field(None, ge=1)
    pooling: Literal["mean", "cls"] | None = None
    normalize: bool | None = None
    config: dict[str, Any] | None = None


def open(entry: Entry, *, task: Task | None = None, shape: tuple[int, ...] | None = None, seed: int = 0) -> Model:
    """The model of a checkpoint, or of a configuration with weights drawn from `seed`.

    A checkpoint without a head, or with one for another number of classes than the task has, is given a new head
    drawn from `seed`; the model's history says so.

    Raises:
        ParingError: see `files.read`; an unknown option or architecture, weights that do not belong to it.
    """
    options = _options(entry)
    checkpoint = files.read(entry)
    made = heads.made_for(checkpoint, options.head)
    text = heads.is_text(checkpoint)
    plan = _plan(checkpoint, options, task, text, made)
    inputs = _tokens(checkpoint, plan, options, task, shape) if text else _image(checkpoint, task, shape)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        core, told = _core(checkpoint, plan, may_draw=options.head is not None or _labelled(task, options))
    if made == "classifier" and plan["head"] == "classify" and (other := heads.answers(checkpoint.config)):
        told.append(f"the checkpoint's answers were {other}")
    if plan["rescale"] is not None:
        told.append("images are brought from the task's normalization to the checkpoint's first")
    source = Source(f"hf:{entry.rest}", entry.arguments, plan)
    module = _wrap(core, plan)
    if text and plan["head"] == "classify":
        _vocabulary(plan, checkpoint)
    model = probe.model(module, source, inputs)
    if told:
        event = Event("load.huggingface", {"seed": seed}, "; ".join(told))
        model = model.changed(module, event)
    return model


def rebuild(source: Source) -> nn.Module:
    """The module of a saved model, from its blueprint; the folder is not needed."""
    plan = source.blueprint
    try:
        with torch.random.fork_rng(devices=[]):
            return _wrap(_drawn(plan, str(source)), plan)
    except (KeyError, TypeError) as error:
        raise ParingError(f"its blueprint lacks {error}", str(source), "load the original model again") from error


def tokenization(entry: Entry) -> Tokenization | None:
    """How the model of an entry wants its texts; None for one of images."""
    options, checkpoint = _options(entry), files.read(entry)
    if not heads.is_text(checkpoint):
        return None
    limit = _limit(checkpoint.config)
    return Tokenization(checkpoint.tokenizer, options.length or min(_LENGTH, limit or _LENGTH), limit)


def saved_tokenization(source: Source, inputs: tuple[TensorSpec, ...]) -> Tokenization | None:
    """Likewise of a saved model."""
    plan = source.blueprint or {}
    if not isinstance(plan, Mapping) or plan.get("kind") != "text":
        return None
    return Tokenization(plan["tokenizer"], inputs[0].sized(1)[1], plan["limit"])


def _options(entry: Entry) -> Options:
    for name in entry.arguments:
        if name not in Options.model_fields:
            raise UnknownName.of("option", name, Options.model_fields, f"hf:{entry.rest}")
    try:
        return Options(**entry.arguments)
    except ValidationError as error:
        fault = error.errors()[0]
        raise ParingError(
            f"{fault['loc'][0]}={fault['input']!r}: {fault['msg']}", f"hf:{entry.rest}", "give it such a value"
        ) from None


def _labelled(task: Task | None, options: Options) -> bool:
    """Whether it is known for how many classes a head is to be."""
    return options.classes is not None or (task is not None and bool(task.labels))


def _plan(checkpoint: Checkpoint, options: Options, task: Task | None, text: bool, made: heads.Made) -> dict[str, Json]:
    """All that rebuilds the module: the blueprint of its source."""
    head = heads.chosen(
        checkpoint, made, options.head, text=text, labelled=_labelled(task, options), task=task is not None
    )
    if head == "encode" and (not text or (task is not None and task.labels)):
        raise ParingError(
            "an encoder of sentences gives vectors, no classes", checkpoint.name, "leave head out, or write 'classify'"
        )
    config = dict(checkpoint.config)
    other = heads.answers(config) if made == "classifier" and head == "classify" else ""
    if other and task is not None and task.labels and options.head is None:
        raise ParingError(
            f"its answers are {other}; {task.name} wants one of {len(task.labels)} classes",
            checkpoint.name,
            "head='classify' takes them as classes all the same, to be trained; "
            "or load it as it is: torch:package.module:factory",
        )
    classes = len(task.labels) if task is not None and task.labels else options.classes
    labels = list(task.labels) if task is not None and task.labels else [f"LABEL_{i}" for i in range(classes or 0)]
    if head == "classify" and classes:
        config.pop("num_labels", None)
        config["id2label"] = {str(i): label for i, label in enumerate(labels)}
        config["label2id"] = {label: i for i, label in enumerate(labels)}
        config.pop("problem_type", None)
    pooling = checkpoint.pooling or {"mode": "mean", "normalize": True}
    return {
        "kind": "text" if text else "image",
        "head": head,
        "config": config,
        "mode": options.pooling or pooling["mode"],
        "normalize": pooling["normalize"] if options.normalize is None else options.normalize,
        "tokenizer": checkpoint.tokenizer,
        "limit": _limit(config),
        "processor": dict(checkpoint.processor) if checkpoint.processor else None,
        "rescale": rescaling(checkpoint.processor, task.preprocessing)
        if task is not None and not text and checkpoint.folder is not None
        else None,
    }


def _limit(config: Mapping[str, Json]) -> int | None:
    """The longest text, in tokens, where positions are learned."""
    with quiet():
        made = _config(config, "configuration")
    longest = getattr(made, "max_position_embeddings", None)
    if not isinstance(longest, int) or longest <= 0:
        return None
    return longest - (made.pad_token_id or 0) - 1 if made.model_type in _OFFSET_POSITIONS else longest


def _config(values: Mapping[str, Json], where: str) -> Any:
    try:
        made = AutoConfig.for_model(**values)
        made.architectures = made.architectures or []  # transformers goes through it where a type has two classes
        return made
    except Exception as error:  # a value of another type fails in any way
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ParingError(f"its configuration is refused: {reason}", where, "see transformers' class for it") from error


def _class(plan: Mapping[str, Json]) -> Any:
    if plan["kind"] == "image":
        return AutoModelForImageClassification
    return AutoModel if plan["head"] == "encode" else AutoModelForSequenceClassification


def _drawn(plan: Mapping[str, Json], where: str) -> nn.Module:
    """With weights drawn at random."""
    config = _config(plan["config"], where)
    try:
        with quiet():
            module: nn.Module = _class(plan).from_config(config, **_attention(config), trust_remote_code=False)
    except Exception as error:  # sizes that do not go together fail in any way
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ParingError(f"cannot be built: {reason}", where, "mend the values of its configuration") from error
    return module.float()


def _core(checkpoint: Checkpoint, plan: Mapping[str, Json], *, may_draw: bool) -> tuple[nn.Module, list[str]]:
    """The transformers model, and what a user should know of its weights.

    Args:
        checkpoint: with or without weights.
        plan: its blueprint.
        may_draw: whether a head that the checkpoint lacks may be drawn at random.
    """
    if checkpoint.folder is None:
        return _drawn(plan, checkpoint.name), ["all weights were drawn at random: there is a configuration only"]
    config = _config(plan["config"], checkpoint.name)
    try:
        with quiet():
            module, found = _class(plan).from_pretrained(
                str(checkpoint.folder),
                config=config,
                use_safetensors=True,
                dtype=torch.float32,
                trust_remote_code=False,
                local_files_only=True,
                output_loading_info=True,
                ignore_mismatched_sizes=True,
                **_attention(config),
            )
    except Exception as error:  # a damaged file or a wrong one
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ParingError(f"its weights cannot be loaded: {reason}", checkpoint.name, "copy it again") from error
    for tensor in (*module.parameters(), *module.buffers()):
        # as it lies in a model built anew: where a tensor lies in memory chooses the kernel, and with it the last bit
        tensor.data = tensor.data.clone(memory_format=torch.contiguous_format)
    drawn = sorted({*found["missing_keys"], *(key[0] for key in found["mismatched_keys"])})
    for names, of, what in (
        (heads.missing(drawn, module), "architecture", "checkpoint"),
        (heads.spare(found["unexpected_keys"], module), "checkpoint", "architecture"),
    ):
        if names:
            raise ParingError(
                f"{len(names)} tensors of the {of} are not in the {what} ({', '.join(names[:3])})",
                checkpoint.name,
                "take the configuration that belongs to these weights",
            )
    if plan["head"] == "encode" or not drawn:  # an encoder's pooler is read by nothing
        return module, []
    if not may_draw:
        raise ParingError(
            f"the weights of its head are not in the checkpoint ({', '.join(drawn[:3])})",
            checkpoint.name,
            "name the data, or classes=N, or head='classify': a new head is drawn then, to be trained",
        )
    return module, [f"a new head was drawn from the seed ({', '.join(drawn)})"]


def _attention(config: Any) -> dict[str, str]:
    """Plain matrix products, which every target knows, where a model has attention."""
    return {"attn_implementation": "eager"} if getattr(config, "num_attention_heads", None) else {}


def _wrap(core: nn.Module, plan: Mapping[str, Json]) -> nn.Module:
    if plan["kind"] == "image":
        return ImageClassifier(core, plan["rescale"])
    if plan["head"] == "encode":
        if getattr(core, "pooler", None) is not None:
            core.pooler = None  # type: ignore[assignment]  # nothing reads what it gives
        return Encoder(core, plan["mode"], plan["normalize"])
    return TextClassifier(core)


def _tokens(
    checkpoint: Checkpoint,
    plan: Mapping[str, Json],
    options: Options,
    task: Task | None,
    shape: tuple[int, ...] | None,
) -> tuple[TensorSpec, ...]:
    """Ids, mask and, where the model has them, types of tokens."""
    config = _config(plan["config"], checkpoint.name)
    limit = plan["limit"]
    length = options.length or min(_LENGTH, limit or _LENGTH)
    if shape is not None:
        if len(shape) != 1 or (options.length and shape[0] != options.length):
            raise ParingError(f"takes texts of {length} tokens, not {shape}", checkpoint.name, f"--shape {length}")
        length = shape[0]
    if task is not None:
        free = task.inputs[0].free.get("length")
        if free is None:
            raise ParingError(f"takes texts, {task.name} gives none", checkpoint.name, "write table:FILE or reviews")
        if options.length and options.length != free:
            raise ParingError(f"length={length}, {task.name} gives {free} tokens", checkpoint.name, "give it once")
        length = free
    if limit is not None and length > limit:
        raise ParingError(f"takes {limit} tokens at most, not {length}", checkpoint.name, f"length={limit} or less")
    free_length = {"length": length}
    ranges = {"input_ids": config.vocab_size - 1, "attention_mask": 1}
    types = int(getattr(config, "type_vocab_size", 0) or 0)
    with quiet():  # it imports the architecture's module
        architecture = _class(plan)._model_mapping[type(config)]
    architecture = architecture[0] if isinstance(architecture, tuple) else architecture
    if types > 1 and "token_type_ids" in inspect.signature(architecture.forward).parameters:
        ranges["token_type_ids"] = types - 1
    return tuple(
        TensorSpec(name, ("batch", "length"), "int64", range=(0, high), free=free_length)
        for name, high in ranges.items()
    )


def _image(checkpoint: Checkpoint, task: Task | None, shape: tuple[int, ...] | None) -> tuple[TensorSpec, ...]:
    if task is not None:
        return task.inputs
    if shape is None:
        size = (checkpoint.processor or {}).get("crop_size") or (checkpoint.processor or {}).get("size")
        size = size or checkpoint.config.get("image_size") or 224
        if isinstance(size, dict):
            edge = size.get("shortest_edge", 224)
            size = (size.get("height", edge), size.get("width", edge))
        size = (size, size) if isinstance(size, int) else tuple(size)
        shape = (int(checkpoint.config.get("num_channels", 3)), *size)
    if len(shape) != 3:
        raise ParingError(f"takes an image, not {shape}", checkpoint.name, "give channels, height and width")
    return (TensorSpec("image", ("batch", *shape), layout="NCHW"),)


def _vocabulary(plan: Mapping[str, Json], checkpoint: Checkpoint) -> None:
    """Refuses a tokenizer that knows more tokens than the model has embeddings for."""
    if plan["tokenizer"] is None:
        return
    from tokenizers import Tokenizer

    count = Tokenizer.from_str(plan["tokenizer"]).get_vocab_size()
    embedded = _config(plan["config"], checkpoint.name).vocab_size
    if count > embedded:
        raise ParingError(
            f"its tokenizer has {count} tokens, the model embeddings for {embedded}",
            checkpoint.name,
            "take the tokenizer that the model was trained with",
        )
