"""Operators of torch's own (ATen) as operations of a blueprint, named as data: what no layer stands for.

An operator is taken by its name and overload (`add.Tensor`) if it maps tensors and plain values to tensors, and its
texts are modes and not, say, names of files.
"""

import operator
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch

from paring.core.model import Json

_TEXTS = {"approximate", "mode", "padding", "rounding_mode", "equation", "indexing", "reduction", "padding_mode"}
_NUMBERS: dict[str, Callable[..., Any]] = {
    name: getattr(operator, name)
    for name in ("add", "sub", "mul", "floordiv", "truediv", "mod", "neg", "pow", "eq", "ne", "lt", "le", "gt", "ge")
}


def find(name: str) -> Any:
    """The operator `name.overload`, or None where there is none, or none that a blueprint may hold."""
    packet, _, overload = name.partition(".")
    if packet.startswith("_") and packet not in ("_softmax", "_log_softmax", "_native_batch_norm_legit_no_training"):
        return None
    found = getattr(getattr(torch.ops.aten, packet, None), overload or "default", None)
    if not isinstance(found, torch._ops.OpOverload):
        return None
    for argument in found._schema.arguments:
        if "str" in str(argument.type) and argument.name not in _TEXTS:
            return None
    kinds = {str(result.type) for result in found._schema.returns}
    return found if kinds and kinds <= {"Tensor", "List[Tensor]"} else None


def is_view(target: str) -> bool:
    """Whether what an operator gives may be its input's own memory."""
    found = find(target.removeprefix("torch.ops.aten."))
    return found is None or any(result.alias_info is not None for result in found._schema.returns)


def make(*, operator: str, arguments: Sequence[Json], keywords: Mapping[str, Json] | None = None) -> Callable[..., Any]:
    """A function that calls an operator.

    Args:
        operator: e.g. `add.Tensor`.
        arguments: values in order; `{"input": 1}` stands for the second thing that the function is given,
            `{"dtype": "float32"}`, `{"memory_format": "channels_last"}` and `{"float": "inf"}` for what JSON lacks.
        keywords: likewise, by name.

    Raises:
        ValueError: there is no such operator.
    """
    found = find(operator)
    if found is None:
        raise ValueError(f"there is no operator {operator}")
    return partial(_call, found, list(arguments), dict(keywords or {}))


def number(*, operator: str, arguments: Sequence[Json]) -> Callable[..., Any]:
    """A function on sizes: arithmetic and comparisons of Python's, arguments as in `make`."""
    if operator not in _NUMBERS:
        raise ValueError(f"there is no operation {operator}")
    return partial(_call, _NUMBERS[operator], list(arguments), {})


def knows_number(name: str) -> bool:
    """Whether `number` has an operation of that name."""
    return name in _NUMBERS


def size(x: torch.Tensor, *, dim: int) -> int:
    """How long a tensor is along one dimension."""
    return x.size(dim)


def _call(function: Callable[..., Any], arguments: list[Json], keywords: dict[str, Json], *inputs: Any) -> Any:
    return function(
        *(_filled(value, inputs) for value in arguments),
        **{key: _filled(value, inputs) for key, value in keywords.items()},
    )


def _filled(value: Json, inputs: Sequence[Any]) -> Any:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_filled(one, inputs) for one in value]
    if not isinstance(value, Mapping):
        return value
    ((kind, content),) = value.items()
    if kind == "input":
        return inputs[content]
    return float(content) if kind == "float" else getattr(torch, content)
