"""Elementwise arithmetic, comparisons, choices, types."""

import torch

from paring.load.onnx.build import Builder, Operator
from paring.load.onnx.draft import Cannot, Value

TYPES = {
    1: "float32", 2: "uint8", 3: "int8", 5: "int16", 6: "int32", 7: "int64", 9: "bool", 11: "float64",
}  # fmt: skip  # ONNX's number of a type -> torch's name


def _plain(name: str) -> Builder:
    return lambda operator: operator.emit(name, operator[0])


def _binary(op: str, reverse: str | None = None) -> Builder:
    """A function of two values; a number on the right, or on the left where there is a name for it, is an option."""

    def build(operator: Operator) -> Value:
        return binary(operator, op, operator[0], operator[1], reverse)

    return build


def binary(operator: Operator, op: str, x: Value, y: Value, reverse: str | None = None) -> Value:
    """Likewise, of values at hand."""
    if not (x.known and y.known):
        right, left = operator.scalar(y, x), operator.scalar(x, y)
        if right is not None:
            return operator.emit(op, x, other=right)
        if left is not None and reverse == op:
            return operator.emit(op, y, other=left)
        if left is not None and reverse is not None:
            return operator.emit(reverse, y, value=left)
    return operator.emit(op, x, y)


def divide(operator: Operator) -> Value:
    """Whole numbers are cut, not floored."""
    x, y = operator[0], operator[1]
    if x.dtype.is_floating_point:
        return binary(operator, "divide", x, y, "divide_into")
    return operator.emit("divide", x, y, rounding_mode="trunc")


def power(operator: Operator) -> Value:
    """The result has the type of the base."""
    x, y = operator[0], operator[1]
    exponent = None if x.known else operator.scalar(y, x)
    if exponent is not None:
        return operator.emit("power", x, exponent=float(exponent) if x.dtype.is_floating_point else int(exponent))
    if y.dtype != x.dtype and x.dtype.is_floating_point:
        y = operator.emit("cast", y, dtype=str(x.dtype).removeprefix("torch."))
    return operator.emit("power", x, y)


def modulo(operator: Operator) -> Value:
    """With the sign of the divisor, or with `fmod` of the dividend."""
    return binary(operator, "fmod" if operator.attribute("fmod", 0) else "remainder", operator[0], operator[1])


def _folded(op: str, one_number: str | None = None) -> Builder:
    """A function of any number of values."""

    def build(operator: Operator) -> Value:
        values = operator.given()
        if len(values) == 2 and one_number and not all(value.known for value in values):
            for x, y in (values, values[::-1]):
                number = operator.scalar(y, x)
                if number is not None and x.dtype.is_floating_point:
                    return operator.emit("clamp", x, **{one_number: number})
        return operator.emit(op, *values) if len(values) > 1 else values[0]

    return build


def total(operator: Operator) -> Value:
    """The sum of any number of values."""
    values = operator.given()
    found = values[0]
    for value in values[1:]:
        found = binary(operator, "add", found, value, "add")
    return found


def mean(operator: Operator) -> Value:
    """Their mean."""
    count = len(operator.given())
    return total(operator) if count == 1 else operator.emit("multiply", total(operator), other=1 / count)


def where(operator: Operator) -> Value:
    """A choice; numbers are options, infinities among them."""
    condition, x, y = operator[0], operator[1], operator[2]
    options: dict[str, float | str] = {}
    rest = []
    if not all(value.known for value in (condition, x, y)):
        for key, value in (("x", x), ("y", y)):
            tensor = value.constant
            single = tensor is not None and tensor.numel() == 1 and tensor.dtype.is_floating_point
            if single and tensor is not None and tensor.ndim <= condition.rank and not options:
                number = float(tensor)
                options[key] = number if torch.isfinite(tensor).all() else str(number)
            else:
                rest.append(value)
    else:
        rest = [x, y]
    return operator.emit("where", condition, *rest, **options)


def cast(operator: Operator) -> Value:
    """To another type."""
    number = int(operator.attribute("to"))
    if number not in TYPES:
        raise Cannot(f"it casts to ONNX's type {number}", f"one of {', '.join(TYPES.values())}")
    return _cast(operator, TYPES[number])


def cast_like(operator: Operator) -> Value:
    """To the type of another value."""
    return _cast(operator, str(operator[1].dtype).removeprefix("torch."))


def _cast(operator: Operator, dtype: str) -> Value:
    if operator[0].dtype is getattr(torch, dtype):
        return operator[0]
    return operator.emit("cast", operator[0], dtype=dtype)


def is_infinite(operator: Operator) -> Value:
    """Of either sign."""
    if not (operator.attribute("detect_negative", 1) and operator.attribute("detect_positive", 1)):
        raise Cannot("it looks for infinities of one sign only")
    return operator.emit("isinf", operator[0])


OPERATORS: dict[str, Builder] = {
    "Add": _binary("add", "add"), "Mul": _binary("multiply", "multiply"), "Sub": _binary("subtract", "subtract_from"),
    "Div": divide, "Pow": power, "Mod": modulo, "Max": _folded("maximum", "min"), "Min": _folded("minimum", "max"),
    "Sum": total, "Mean": mean, "Where": where, "Cast": cast, "CastLike": cast_like, "IsInf": is_infinite,
    "Equal": _binary("equal", "equal"), "Greater": _binary("greater"), "GreaterOrEqual": _binary("greater_equal"),
    "Less": _binary("less"), "LessOrEqual": _binary("less_equal"),
    "And": _binary("logical_and"), "Or": _binary("logical_or"), "Xor": _binary("logical_xor"),
    **{
        name: _plain(op)
        for name, op in {
            "Not": "logical_not", "Abs": "absolute", "Neg": "negative", "Sign": "sign", "Reciprocal": "reciprocal",
            "Exp": "exp", "Log": "log", "Sqrt": "sqrt", "Erf": "erf", "Floor": "floor", "Ceil": "ceil",
            "Round": "round", "Sin": "sin", "Cos": "cos", "Tan": "tan", "Asin": "asin", "Acos": "acos",
            "Atan": "atan", "Sinh": "sinh", "Cosh": "cosh", "Asinh": "asinh", "Acosh": "acosh", "Atanh": "atanh",
            "IsNaN": "isnan",
        }.items()
    },
}  # fmt: skip
