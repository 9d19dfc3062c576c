"""Parts of values."""

import torch
from torch import Tensor

from paring.load.onnx.build import Builder, Operator
from paring.load.onnx.draft import Cannot, Value


def crop(operator: Operator) -> Value:
    """Slice: from, to, and in steps."""
    x = operator[0]
    if not all(value.known for value in operator.given()[1:]):
        raise Cannot("its bounds depend on values")
    given: list[list[list[int]]] = [[] for _ in x.at]
    for i, own in enumerate(x.shapes):
        starts, ends, axes, steps = (_at(operator, name, index, i) for name, index in _BOUNDS)
        for n, (start, end) in enumerate(zip(starts or [], ends or [], strict=True)):
            dim = axes[n] % x.rank if axes else n
            low, high, step = slice(start, end, steps[n] if steps else 1).indices(own[dim])
            if step < 0 and high < 0:
                high = -1
            if (low, high, step) != (0, own[dim], 1):
                given[i].append([dim, low, max(high, low) if step > 0 else high, step])
    if x.known:
        return operator.both(lambda v, i: _cropped(v[0], given[i]), x)
    if given[0] != given[1] or any(dim in x.grows for dim, *_ in given[0]):
        raise Cannot("it cuts the batch", "export the model without what takes the batch apart")
    return operator.emit("crop_to", x, bounds=given[0]) if given[0] else x


_BOUNDS = (("starts", 1), ("ends", 2), ("axes", 3), ("steps", 4))


def _at(operator: Operator, name: str, index: int, batch: int) -> list[int] | None:
    if name in operator.attributes:
        return [int(one) for one in operator.attributes[name]]
    value = operator.get(index)
    return None if value is None else [int(one) for one in value.at[batch].flatten()]


def _cropped(x: Tensor, bounds: list[list[int]]) -> Tensor:
    for dim, start, stop, step in bounds:
        x = x.index_select(dim, torch.arange(start, stop, step))
    return x


def split(operator: Operator) -> list[Value]:
    """Into parts of given sizes, or as even as they come."""
    x = operator[0]
    dim = operator.dims([operator.attribute("axis", 0)])[0]
    if dim in x.grows:
        raise Cannot("it splits the batch")
    sizes = operator.integers("split", 1)
    if sizes is None:
        count = int(operator.attribute("num_outputs", len(operator.outputs)))
        one = -(-x.shape[dim] // count)
        sizes = [one] * (count - 1)
        sizes.append(x.shape[dim] - sum(sizes))
    if len(sizes) == 1:
        return [x]
    return operator.several("split", x, sizes=sizes, dim=dim)


def gather_elements(operator: Operator) -> Value:
    """GatherElements."""
    return operator.emit(
        "gather_elements", operator[0], operator[1], dim=operator.dims([operator.attribute("axis", 0)])[0]
    )


def gather_nd(operator: Operator) -> Value:
    """GatherND without batch dimensions."""
    if operator.attribute("batch_dims", 0):
        raise Cannot("it has batch dimensions")
    return operator.emit("gather_nd", operator[0], operator[1])


def scatter_elements(operator: Operator) -> Value:
    """ScatterElements."""
    how = operator.attribute("reduction", "none")
    if how not in ("none", "add"):
        raise Cannot(f"its reduction is {how}")
    return operator.emit(
        "scatter_elements", *operator.given(), dim=operator.dims([operator.attribute("axis", 0)])[0], add=how == "add"
    )


def scatter_nd(operator: Operator) -> Value:
    """ScatterND."""
    if operator.attribute("reduction", "none") != "none":
        raise Cannot("it reduces")
    return operator.emit("scatter_nd", *operator.given())


def non_zero(operator: Operator) -> Value:
    """Of constants only: elsewhere the shape of the answer depends on values."""
    if not operator[0].known:
        raise Cannot("the shape of its answer depends on values")
    return operator.both(lambda v, _: v[0].nonzero().T.contiguous(), operator[0])


def one_hot(operator: Operator) -> Value:
    """OneHot."""
    values = operator.needed(2, "values")
    dim = operator.dims([operator.attribute("axis", -1)], operator[0].rank + 1)[0]
    off, on = values.tolist()
    return operator.emit(
        "one_hot", operator[0], depth=int(operator.needed(1, "depth")), dim=dim, off=off, on=on,
        dtype=str(values.dtype).removeprefix("torch."),
    )  # fmt: skip


def triangle(operator: Operator) -> Value:
    """Trilu."""
    k = operator.constant(1, "k")
    return operator.emit(
        "triangle", operator[0], upper=bool(operator.attribute("upper", 1)), diagonal=0 if k is None else int(k)
    )


OPERATORS: dict[str, Builder] = {
    "Slice": crop, "Split": split, "GatherElements": gather_elements, "GatherND": gather_nd,
    "ScatterElements": scatter_elements, "ScatterND": scatter_nd, "NonZero": non_zero, "OneHot": one_hot,
    "Trilu": triangle,
}  # fmt: skip
