"""Parts of values."""

import math

import torch
from torch import Tensor

from paring.load.onnx.build import Builder, Operator
from paring.load.onnx.draft import BATCHES, Cannot, Value


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


def gather(operator: Operator) -> Value:
    """Embedding for ids that point into a constant table; else rows of a value."""
    x, index = operator[0], operator[1]
    dim = operator.dims([operator.attribute("axis", 0)])[0]
    table, which = x.constant, index.constant
    if table is not None and table.ndim == 2 and dim == 0 and not index.known and table.dtype is torch.float32:
        return operator.layer(
            "Embedding", index, tensors={"weight": table}, num_embeddings=table.shape[0], embedding_dim=table.shape[1]
        )
    if dim in x.grows and not x.known:
        return _sample_by_sample(operator, x, index)
    if which is not None and which.ndim == 0:
        return operator.emit("select", x, dim=dim, index=int(which))
    return operator.emit("rows", x, index, dim=dim)


def _sample_by_sample(operator: Operator, x: Value, index: Value) -> Value:
    """Rows of a value whose first dimension is (batch · rows), where each sample takes the same of its own rows."""
    rows = x.shape[0] // BATCHES[0]
    sizes = BATCHES if operator.batch is None or index.constant is None else (operator.batch,) * len(BATCHES)
    if x.grows == [0] and index.known and index.rank:
        base = index.at[0][0]
        steps = [rows * torch.arange(size).reshape(-1, *[1] * base.ndim) for size in sizes]
        inside = not base.numel() or (int(base.min()) >= 0 and int(base.max()) < rows)
        if inside and all(torch.equal(at, base + step) for at, step in zip(index.at, steps, strict=True)):
            apart = operator.reshape(x, [(batch, rows, *x.shape[1:]) for batch in BATCHES])
            if torch.equal(base.flatten(), torch.arange(rows)):
                return operator.reshape(apart, [(batch, *base.shape, *x.shape[1:]) for batch in BATCHES])
            return operator.emit("rows", apart, Value.of(base), dim=1)
    raise Cannot("it takes samples out of the batch", "export the model with a free batch dimension")


def gather_elements(operator: Operator) -> Value:
    """GatherElements."""
    return operator.emit(
        "gather_elements", operator[0], operator[1], dim=operator.beside_batch(operator.attribute("axis", 0))
    )


def gather_nd(operator: Operator) -> Value:
    """GatherND without batch dimensions: rows of a value whose first dimensions are made one."""
    if operator.attribute("batch_dims", 0):
        raise Cannot("it has batch dimensions")
    x, index = operator[0], operator[1]
    if x.known or 0 not in x.grows:
        return operator.emit("gather_nd", x, index)
    if not index.known:
        raise Cannot("it takes samples out of the batch by values")
    count = index.shape[-1]
    steps = [math.prod(x.shape[i + 1 : count]) for i in range(count)]
    flat = operator.both(lambda v, _: (v[0].long() * torch.tensor(steps)).sum(-1), index)
    if index.constant is not None:
        flat = Value.of(flat.at[0])
    merged = operator.reshape(x, [(math.prod(s[:count]), *s[count:]) for s in x.shapes])
    return _sample_by_sample(operator, merged, flat)


def scatter_elements(operator: Operator) -> Value:
    """ScatterElements."""
    how = operator.attribute("reduction", "none")
    if how not in ("none", "add"):
        raise Cannot(f"its reduction is {how}")
    operator.beside_batch(operator.attribute("axis", 0))
    return operator.emit(
        "scatter_elements", *operator.given(), dim=operator.dims([operator.attribute("axis", 0)])[0], add=how == "add"
    )


def scatter_nd(operator: Operator) -> Value:
    """ScatterND."""
    if operator.attribute("reduction", "none") != "none":
        raise Cannot("it reduces")
    if operator[0].grows and not operator[0].known:
        raise Cannot("it writes into samples of the batch")
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
    "Slice": crop, "Split": split, "Gather": gather, "GatherElements": gather_elements, "GatherND": gather_nd,
    "ScatterElements": scatter_elements, "ScatterND": scatter_nd, "NonZero": non_zero, "OneHot": one_hot,
    "Trilu": triangle,
}  # fmt: skip
