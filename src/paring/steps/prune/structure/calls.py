"""Calls of operators, as a forward pass makes them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.utils._pytree import tree_leaves


@dataclass(frozen=True, slots=True)
class Call:
    """An operator that has run: with what, the tensors among that, and those that it gave."""

    name: str
    operator: Any
    args: Sequence[Any]
    options: Mapping[str, Any]
    given: list[Tensor]
    gives: list[Tensor]

    @property
    def values(self) -> dict[str, Any]:
        """What it was called with, by name."""
        names = [argument.name for argument in self.operator._schema.arguments]
        return {**dict(zip(names, self.args, strict=False)), **self.options}


def tensors(values: Any) -> list[Tensor]:
    """Those that hold numbers, of a tree."""
    return [one for one in tree_leaves(values) if isinstance(one, Tensor) and one.numel()]


def split(before: tuple[int, ...], after: tuple[int, ...]) -> list[tuple[int, list[int]]]:
    """Dimensions that a reshape makes several of, and which."""
    found: list[tuple[int, list[int]]] = []
    one, other = 0, 0
    while one < len(before) and other < len(after):
        first, parts = [one], [other]
        left, right = before[one], after[other]
        one, other = one + 1, other + 1
        while left != right:
            if left < right and one < len(before):
                left *= before[one]
                first.append(one)
                one += 1
            elif right < left and other < len(after):
                right *= after[other]
                parts.append(other)
                other += 1
            else:
                return found
        many = [part for part in parts if after[part] > 1]
        whole = [dim for dim in first if before[dim] > 1]
        if len(whole) == 1 and len(many) > 1:
            found.append((whole[0], many))
    return found
