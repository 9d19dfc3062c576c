"""Arguments of nodes in a program's JSON: one key says the kind, e.g. `{"as_tensor": {"name": "x"}}`."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any


def only(argument: Mapping[str, Any]) -> str:
    """The name of the one tensor that an argument is."""
    name: str = argument["as_tensor"]["name"]
    return name


def values(arguments: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """The names of the values that the arguments of a node refer to."""
    return values_of(one["arg"] for one in arguments)


def values_of(arguments: Any) -> Iterator[str]:
    """The names of the values that arguments refer to, or results are given under."""
    for argument in arguments:
        for kind, value in argument.items():
            if kind in ("as_tensor", "as_custom_obj"):
                yield value["name"]
            elif kind == "as_name":
                yield value
            elif kind in ("as_sym_int", "as_sym_float", "as_sym_bool", "as_optional_tensor"):
                yield from values_of([value])
            elif kind in ("as_sym_ints", "as_sym_floats", "as_optional_tensors"):
                yield from values_of(value)
            elif kind == "as_tensors":
                yield from (one["name"] for one in value)
