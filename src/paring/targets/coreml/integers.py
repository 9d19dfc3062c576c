"""Which operators of a program compute between codes: Core ML can run these on integers, and does so on some chips.

Core ML's integers are a pattern, not operators of their own: `dequantize` before an operator, `quantize` behind it.
"""

from collections import Counter
from typing import Any

from paring.targets.coreml.library import types

# operators that change the type of values, or their place, and compute nothing
_MOVES = {
    "cast", "concat", "expand_dims", "gather", "identity", "pad", "reshape", "slice_by_index", "slice_by_size", "split",
    "squeeze", "stack", "tile", "transpose",
}  # fmt: skip
# that run with the operator in front of them
_FOLLOWS = {"clip", "relu", "relu6", "leaky_relu", "prelu", "sigmoid", "sigmoid_hard", "silu", "tanh"}
_ENDS = {"const", "quantize", "dequantize"}


def on_integers(operators: list[Any]) -> tuple[Counter[str], list[tuple[str, str]]]:
    """How often each operator computes between codes, and (operator, output) of each that computes on floats.

    Args:
        operators: of a MIL program, in order.
    """
    quantized, in_float = Counter[str](), list[tuple[str, str]]()
    for one in operators:
        if one.op_type in _ENDS | _MOVES or one.op_type.startswith("constexpr_") or not _floats(one):
            continue
        if _fed(one) and all(_drained(var) for var in one.outputs):
            quantized[one.op_type] += 1
        else:
            in_float.append((one.op_type, one.outputs[0].name))
    return quantized, in_float


def _floats(one: Any) -> list[Any]:
    """The computed floats that an operator reads."""
    given = [var for held in one.inputs.values() for var in (held if isinstance(held, list | tuple) else [held])]
    return [var for var in given if var is not None and not _constant(var) and types.is_float(var.dtype)]


def _constant(var: Any) -> bool:
    return var.op is not None and (var.op.op_type == "const" or var.op.op_type.startswith("constexpr_"))


def _fed(one: Any) -> bool:
    """Whether all that it reads was codes; what follows another operator counts with that."""
    return all(
        var.op is not None
        and (
            var.op.op_type == "dequantize"
            or ((var.op.op_type in _MOVES or one.op_type in _FOLLOWS) and bool(_floats(var.op)) and _fed(var.op))
        )
        for var in _floats(one)
    )


def _drained(var: Any) -> bool:
    """Whether all that reads it makes codes of it."""
    return bool(var.child_ops) and all(
        user.op_type == "quantize" or (user.op_type in _FOLLOWS | _MOVES and all(_drained(out) for out in user.outputs))
        for user in var.child_ops
    )
