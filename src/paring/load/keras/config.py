"""Which layers an architecture names, told before anything is built. Code in a file is refused, never run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from paring.core.errors import ParingError
from paring.core.model import Json
from paring.load.keras.builders import CUSTOM, OPERATIONS, table

_CONTAINERS = {"Functional", "Model", "Sequential", "InputLayer", "LSTMCell", "GRUCell", "SimpleRNNCell"}
_NO_LAYERS = {"initializers", "regularizers", "constraints", "dtype_policies", "random", "quantizers"}
_INNER = {"layer", "forward_layer", "backward_layer", "cell", "cells", "layers"}
_PLAIN = {
    "__tensor__", "__numpy__", "__bytes__", "__ellipsis__", "__slice__", "__keras_tensor__", "__typespec__", "Policy",
    "DTypePolicy", "FloatDTypePolicy",
}  # fmt: skip
_SKIPPED = {"compile_config", "build_config"}  # not read: the model is not compiled


def check(config: Json, where: str) -> None:
    """Every layer that an architecture names has a builder.

    Raises:
        ParingError: it holds code (a Lambda layer), named with all others, or asks for layers that paring does
            not know.
    """
    lambdas: list[str] = []
    unknown: list[str] = []
    known = {*_CONTAINERS, *table(), *OPERATIONS}
    for entry, is_layer in _entries(config):
        kind, name = str(entry["class_name"]), _name(entry)
        if kind in ("Lambda", "__lambda__") or str(entry.get("registered_name")).rpartition(">")[2] == "Lambda":
            lambdas.append(name)
        elif kind == "function":
            if not _known_function(entry):
                unknown.append(f"function {entry['config']}")
        elif kind not in _PLAIN and not _fine(entry, kind, is_layer, known):
            unknown.append(f"{kind} ({name})" if name != kind else kind)
    if lambdas:
        raise ParingError(
            f"holds code, which paring never runs: Lambda layers {', '.join(dict.fromkeys(lambdas))}",
            where,
            "replace them by layers of Keras, or by a class of your own with a registered builder",
        )
    if unknown:
        raise ParingError(
            f"has layers that paring does not know: {', '.join(dict.fromkeys(unknown))}",
            where,
            "write a builder (paring.load.keras.register) and name its module: keras:FILE(custom='package.module')",
        )


def _fine(entry: Mapping[str, Any], kind: str, is_layer: bool, known: set[str]) -> bool:
    module = entry.get("module")
    if module is None:  # old files name none; only layers stand in such places
        return not is_layer or kind in known
    parts = str(module).split(".")
    if parts[0] != "keras":
        return kind in CUSTOM
    if _NO_LAYERS & set(parts[1:3]):
        return not is_layer
    return kind in known


def _known_function(entry: Mapping[str, Any]) -> bool:
    from paring.load.keras.builders.activation import FUNCTIONS

    name = str(entry.get("config"))
    package = str(entry.get("module") or "builtins").partition(".")[0]
    return name in {*FUNCTIONS, "linear", "softmax", "log_softmax"} and package in ("builtins", "keras")


def _entries(config: Json) -> Iterator[tuple[Mapping[str, Any], bool]]:
    """Every part that names a class, and whether it stands where a layer stands; no recursion, however deep it is."""
    waiting: list[tuple[Json, bool]] = [(config, True)]
    while waiting:
        part, is_layer = waiting.pop()
        if isinstance(part, dict):
            if "class_name" in part and "config" in part:
                yield part, is_layer
            for key, value in part.items():
                if key not in _SKIPPED:
                    waiting.append((value, key in _INNER))
        elif isinstance(part, list):
            waiting.extend((value, is_layer) for value in part)


def _name(entry: Mapping[str, Any]) -> str:
    inner = entry.get("config")
    found = entry.get("name") or (inner.get("name") if isinstance(inner, dict) else None)
    return str(found or entry["class_name"])
