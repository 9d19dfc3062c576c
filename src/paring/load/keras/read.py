"""Keras itself: on its torch backend, and what it needs to read old files."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import Any

from paring.core.errors import ParingError
from paring.core.quiet import quiet
from paring.load.keras.legacy import op_lambda

_INNER = "Exception encountered: "
_GROUPS = (
    "DepthwiseConv1D", "DepthwiseConv2D", "SeparableConv1D", "SeparableConv2D", "Conv1DTranspose", "Conv2DTranspose",
    "Conv3DTranspose",
)  # fmt: skip
_OUTDATED: dict[
    str, dict[str, Any]
] = {  # options that layers of Keras 2 wrote and Keras 3 refuses, with the value that changes nothing
    **{name: {"groups": None} for name in _GROUPS},
    **{name: {"time_major": False} for name in ("LSTM", "GRU", "SimpleRNN", "RNN")},
    "BatchNormalization": {"fused": None, "renorm": False, "virtual_batch_size": None},
}


def keras() -> Any:
    """Keras on its torch backend.

    Raises:
        ParingError: it is imported already, with another backend.
    """
    if "keras" not in sys.modules:
        before = os.environ.get("KERAS_BACKEND")
        os.environ["KERAS_BACKEND"] = "torch"
        try:
            with quiet():
                importlib.import_module("keras")
        finally:
            if before is None:
                del os.environ["KERAS_BACKEND"]
            else:
                os.environ["KERAS_BACKEND"] = before
    found = sys.modules["keras"]
    if found.backend.backend() != "torch":
        raise ParingError(
            f"is imported already, with the backend {found.backend.backend()}",
            "keras",
            "set KERAS_BACKEND=torch before Python starts, or load the model in a process of its own",
        )
    return found


def load(path: Path) -> Any:
    """The model that Keras reads from a file that `archive` and `config` have looked at.

    Raises:
        ParingError: Keras cannot read it.
    """
    library = keras()
    try:
        with quiet(), library.device("cpu"):
            return library.saving.load_model(path, custom_objects=_mended(library), compile=False, safe_mode=True)
    except Exception as error:  # Keras raises many kinds, h5py's among them
        lines = (str(error).strip() or type(error).__name__).splitlines()
        inner = [line.removeprefix(_INNER) for line in lines if line.startswith(_INNER)]
        reason = (inner or lines[:1])[-1]  # what lies at the bottom of it
        raise ParingError(
            f"Keras {library.__version__} cannot read it: {reason[:300]}",
            f"keras:{path}",
            "copy the file again, or save it again with this version of Keras",
        ) from error


def _mended(library: Any) -> dict[str, Any]:
    """Classes that take what older versions of Keras wrote, and those of keras.applications."""
    from keras.src.applications.convnext import LayerScale, StochasticDepth
    from keras.src.applications.inception_resnet_v2 import CustomScaleLayer

    own = {one.__name__: one for one in (LayerScale, StochasticDepth, CustomScaleLayer, op_lambda(library))}
    return own | {name: _without(getattr(library.layers, name), spare) for name, spare in _OUTDATED.items()}


def _without(layer: Any, spare: dict[str, Any]) -> Any:
    def from_config(_: Any, config: dict[str, Any]) -> Any:
        kept = {
            key: value
            for key, value in config.items()
            if key not in spare or (spare[key] is not None and value != spare[key])
        }
        axis = kept.get("axis")
        if layer.__name__ == "BatchNormalization" and isinstance(axis, list) and len(axis) == 1:
            kept["axis"] = axis[0]
        return layer.from_config(kept)

    return type(layer.__name__, (layer,), {"from_config": classmethod(from_config)})
