"""A Keras model becomes a blueprint: its graph is walked once, each layer is run and drawn in turn.

Running it gives the original's answers, which the proof needs anyway, and every shape, whatever the layer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from paring.core.errors import ParingError
from paring.core.target import Array
from paring.load.blueprint import Blueprint
from paring.load.keras.builders import CUSTOM, OPERATIONS, table
from paring.load.keras.builders.convolution import same
from paring.load.keras.sheet import Sheet, Unsupported, Value

Watch = Callable[[str, Value, Tensor], None]
_HEED_MASKS = {
    "LSTM", "GRU", "SimpleRNN", "RNN", "Bidirectional", "TimeDistributed", "MultiHeadAttention",
    "GroupedQueryAttention", "GroupQueryAttention", "Attention", "AdditiveAttention", "GlobalAveragePooling1D",
    "Softmax",
}  # fmt: skip


@dataclass(frozen=True)
class Drawn:
    """What `translate` gives: the blueprint, its weights, and the original's answers to the samples."""

    blueprint: Blueprint
    tensors: Mapping[str, Tensor]
    answers: Sequence[Tensor]


def translate(
    model: Any, inputs: Sequence[Value], samples: Sequence[Array], where: str, watch: Watch | None = None
) -> Drawn:
    """Draws a Keras model.

    Args:
        model: Functional or Sequential.
        inputs: what the network calls and how it holds each of the model's inputs.
        samples: for each input, as the network takes them, batch first.
        where: the file, for messages.
        watch: told each layer's name, its value in the network and its answer, as the network holds it.

    Raises:
        ParingError: some layers cannot be rebuilt, or not with their options; all of them are named.
    """
    sheet = Sheet([value.reference for value in inputs])
    walk = _Walk(sheet, watch)
    with torch.no_grad(), _on_cpu():  # weights made in inference mode could not be trained
        pairs = zip(samples, inputs, strict=True)
        given = [(_original(torch.from_numpy(array), one.moved), one) for array, one in pairs]
        found = walk.through(_function(model), given, "")
    if walk.problems:
        raise ParingError(
            f"cannot be rebuilt: {'; '.join(dict.fromkeys(walk.problems))}",
            where,
            "replace these layers, or write builders for them: paring.load.keras.register",
        )
    blueprint = sheet.blueprint([value for _, value in found])
    return Drawn(blueprint, sheet.tensors, [tensor for tensor, _ in found])


class _Walk:
    def __init__(self, sheet: Sheet, watch: Watch | None) -> None:
        self.sheet, self.watch = sheet, watch
        self.problems: list[str] = []

    def through(self, function: Any, given: Sequence[tuple[Tensor, Value]], prefix: str) -> list[tuple[Tensor, Value]]:
        """Runs and draws a graph; the same order as Keras's own."""
        held = {id(one): pair for one, pair in zip(function.inputs, given, strict=True)}
        nodes = [node for node in _ordered(function) if not node.is_input]
        uses = Counter(id(one) for node in nodes for one in node.input_tensors)
        uses.update(id(one) for one in function.outputs)
        tensors = {key: tensor for key, (tensor, _) in held.items()}
        values = {key: value for key, (_, value) in held.items()}
        for node in nodes:
            arguments, keywords = node.arguments.fill_in(tensors)
            drawn, drawn_keywords = node.arguments.fill_in(values)
            answers = self._call(node.operation, (arguments, keywords), (drawn, drawn_keywords), prefix)
            for one, (tensor, value) in zip(node.outputs, answers, strict=True):
                tensors[id(one)], values[id(one)] = tensor, value
            for one in node.input_tensors:
                uses[id(one)] -= 1
                if not uses[id(one)]:
                    del tensors[id(one)]
        return [(tensors[id(one)], values[id(one)]) for one in function.outputs]

    def _call(
        self,
        operation: Any,
        original: tuple[Sequence[Any], Mapping[str, Any]],
        drawn: tuple[Sequence[Any], Mapping[str, Any]],
        prefix: str,
    ) -> list[tuple[Tensor, Value]]:
        name = f"{prefix}{operation.name}"
        inner = _function(operation)
        if inner is not None and type(operation).__name__ not in CUSTOM:
            pairs = zip(_leaves(original[0]), _leaves(drawn[0]), strict=True)
            return self.through(inner, list(pairs), f"{name}/")
        found = _run(operation, *original)
        answers = [tensor for tensor in _leaves(found) if isinstance(tensor, Tensor)]
        shapes = [tuple(tensor.shape[1:]) for tensor in answers]
        try:
            values = self._draw(operation, name, original, drawn, shapes)
        except Unsupported as reason:
            self.problems.append(f"{type(operation).__name__} ({name}): {reason}")
            values = [Value(_some(drawn), shape) for shape in shapes]
        if self.watch is not None and not self.problems:
            for tensor, value in zip(answers, values, strict=True):
                self.watch(name, value, tensor)
        return list(zip(answers, values, strict=True))

    def _draw(
        self,
        operation: Any,
        name: str,
        original: tuple[Sequence[Any], Mapping[str, Any]],
        drawn: tuple[Sequence[Any], Mapping[str, Any]],
        shapes: list[tuple[int, ...]],
    ) -> list[Value]:
        kind = type(operation).__name__
        build = (table() if hasattr(operation, "get_weights") else OPERATIONS).get(kind)
        if build is None:
            raise Unsupported("paring does not know it")
        precision = getattr(getattr(operation, "dtype_policy", None), "name", "float32")
        if precision not in ("float32", "int32", "int64", "bool", "string"):
            raise Unsupported(f"computes in {precision}")
        if kind in _HEED_MASKS and any(getattr(one, "_keras_mask", None) is not None for one in _leaves(original)):
            raise Unsupported("it heeds the mask of an Embedding(mask_zero=True) or a Masking layer")
        keywords = {key: one for key, one in drawn[1].items() if key != "training" and one is not None}
        with self.sheet.drawing(operation, name, shapes):
            found = build(self.sheet, operation, *drawn[0], **keywords)
        return list(found) if isinstance(found, list | tuple) else [found]


def _run(operation: Any, arguments: Sequence[Any], keywords: Mapping[str, Any]) -> Any:
    """What Keras's layer answers."""
    if type(operation).__name__.startswith("AveragePooling") and operation.padding == "same":
        return _average(operation, arguments[0])
    if "training" in keywords:  # as `predict` does, whatever the graph says
        keywords = {**keywords, "training": False}
    return operation(*arguments, **keywords)


def _average(layer: Any, x: Tensor) -> Tensor:
    """Average pooling with "same" as TensorFlow and JAX have it: padding is left out of the average.

    Keras's torch backend repeats the border instead where the padding is not the same on both sides.
    """
    rank, last = len(layer.pool_size), layer.data_format == "channels_last"
    x = x.movedim(-1, 1) if last else x
    amounts = [same(*one) for one in zip(x.shape[2:], layer.pool_size, layer.strides, strict=True)]
    pad = [amount for pair in reversed(amounts) for amount in pair]
    pool = (functional.avg_pool1d, functional.avg_pool2d, functional.avg_pool3d)[rank - 1]
    found, real = (
        pool(functional.pad(one, pad), layer.pool_size, layer.strides) for one in (x, torch.ones_like(x[:1, :1]))
    )
    answer = found / real
    return answer.movedim(1, -1) if last else answer


def _function(model: Any) -> Any:
    """The graph of a Functional or a Sequential model, else None."""
    found = getattr(model, "_functional", None) if type(model).__name__ == "Sequential" else model
    return found if hasattr(found, "_nodes_by_depth") else None


def _ordered(function: Any) -> Iterator[Any]:
    for depth in sorted(function._nodes_by_depth, reverse=True):
        yield from function._nodes_by_depth[depth]


def _leaves(structure: Any) -> list[Any]:
    if isinstance(structure, Mapping):
        return [leaf for key in sorted(structure) for leaf in _leaves(structure[key])]
    if isinstance(structure, list | tuple):
        return [leaf for one in structure for leaf in _leaves(one)]
    return [structure]


def _some(drawn: tuple[Sequence[Any], Mapping[str, Any]]) -> str:
    """Any reference, to go on with behind a layer that cannot be rebuilt."""
    return next(one.reference for one in _leaves(drawn) if isinstance(one, Value))


def _original(tensor: Tensor, moved: bool) -> Tensor:
    return tensor.movedim(1, -1) if moved else tensor


def held(tensor: Tensor, value: Value) -> Array:
    """Keras's answer as the network holds it."""
    found: Array = (tensor.movedim(-1, 1) if value.moved else tensor).numpy()
    return found


def _on_cpu() -> Any:
    from paring.load.keras.read import keras

    return keras().device("cpu")
