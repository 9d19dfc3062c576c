"""The table of Keras layer -> builder, and how others join it.

A builder is `build(sheet, layer, *arguments, **keywords) -> Value | list[Value]`: it is given what Keras's layer was
called with, every tensor as a `Value`, draws nodes on the sheet and gives back the layer's answer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Builder = Callable[..., Any]

LAYERS: dict[str, Builder] = {}
OPERATIONS: dict[str, Builder] = {}
CUSTOM: dict[str, Builder] = {}
"""Builders that users registered, by class name."""


def table() -> dict[str, Builder]:
    """Every layer's builder by the name of its class; a user's own comes before ours."""
    if not LAYERS:
        from paring.load.keras.builders import (
            activation,
            attention,
            convolution,
            core,
            merge,
            normalization,
            operation,
            pooling,
            recurrent,
            shape,
        )

        for module in (activation, attention, convolution, core, merge, normalization, pooling, recurrent, shape):
            LAYERS.update(module.BUILDERS)
        LAYERS["TFOpLambda"] = operation.tf_operation
        OPERATIONS.update(operation.BUILDERS)
    return {**LAYERS, **CUSTOM}


def register(name: str, build: Builder) -> None:
    """Lets a builder draw the layers of a class that paring does not know.

    Call it from the module that the entry names: `keras:model.keras(custom="package.module")`. That module also makes
    the class known to Keras, by `@keras.saving.register_keras_serializable()`. What is drawn is proved against the
    layer itself, as every other layer is.

    Args:
        name: of the class, without its package.
        build: `build(sheet, layer, *arguments) -> Value`; see `paring.load.keras.sheet.Sheet`.
    """
    CUSTOM[name] = build
