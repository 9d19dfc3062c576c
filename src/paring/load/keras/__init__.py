"""Keras models: `keras:FILE`, read by Keras on its torch backend and rebuilt as ordinary torch layers.

`door` opens a file: `archive` looks at it before Keras does, `config` at the layers that it names, `read` lets Keras
load it, `translate` walks the model and draws each layer by its builder (`builders/`, one file a topic) on a `Sheet`.
"""

from paring.load.keras.builders import register
from paring.load.keras.sheet import Sheet, Unsupported, Value

__all__ = ["Sheet", "Unsupported", "Value", "register"]
