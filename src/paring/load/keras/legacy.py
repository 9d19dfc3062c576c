"""`TFOpLambda`: how Keras 2 wrote down TensorFlow's arithmetic in a functional model, e.g. MobileNetV3's `x + 3`."""

from __future__ import annotations

from typing import Any

_FUNCTIONS = {  # TensorFlow's name -> the operation of `keras.ops`
    "__operators__.add": "add",
    "math.add": "add",
    "math.subtract": "subtract",
    "math.multiply": "multiply",
    "math.divide": "divide",
    "math.truediv": "divide",
    "math.maximum": "maximum",
    "math.minimum": "minimum",
    "math.sigmoid": "sigmoid",
    "math.tanh": "tanh",
    "nn.relu": "relu",
    "nn.relu6": "relu6",
    "nn.sigmoid": "sigmoid",
    "nn.silu": "silu",
    "nn.tanh": "tanh",
}


def op_lambda(library: Any) -> Any:
    """A layer that does what a `TFOpLambda` did, for functions that are known; there is no code in its options."""

    class TFOpLambda(library.layers.Layer):  # type: ignore[misc]
        def __init__(self, function: str, **options: Any) -> None:
            super().__init__(**options)
            if function not in _FUNCTIONS:
                raise ValueError(f"TFOpLambda ({self.name}) calls tf.{function}, which has no builder")
            self.function = _FUNCTIONS[function]

        def call(self, x: Any, y: Any = None, name: Any = None) -> Any:
            function = getattr(library.ops, self.function)
            return function(x) if y is None else function(x, y)

    return TFOpLambda
