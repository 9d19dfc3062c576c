"""What changes the shape of a value, or asks for it."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from paring.load.onnx.build import Builder, Operator
from paring.load.onnx.draft import BATCHES, Cannot, Value
from paring.load.onnx.tables.arithmetic import TYPES


def identity(operator: Operator) -> Value:
    """The value itself."""
    return operator[0]


def constant(operator: Operator) -> Value:
    """A tensor in the graph."""
    for name, dtype in (
        ("value", None), ("value_float", torch.float32), ("value_floats", torch.float32),
        ("value_int", torch.int64), ("value_ints", torch.int64),
    ):  # fmt: skip
        found = operator.attribute(name)
        if isinstance(found, Tensor):
            return Value.of(found)
        if found is not None:
            return Value.of(torch.tensor(found, dtype=dtype))
    raise Cannot("it holds no tensor of numbers")


def shape(operator: Operator) -> Value:
    """Known at each batch size."""
    start, end = operator.attribute("start", 0), operator.attribute("end")
    return Value(tuple(torch.tensor(s[start:end], dtype=torch.int64) for s in operator[0].shapes), known=True)


def size(operator: Operator) -> Value:
    """Likewise."""
    return Value(tuple(torch.tensor(math.prod(s)) for s in operator[0].shapes), known=True)


def constant_of_shape(operator: Operator) -> Value:
    """Filled with one number."""
    if not operator[0].known:
        raise Cannot("its shape depends on values")
    filled = operator.attribute("value")
    filled = torch.zeros(1) if filled is None else filled
    return operator.both(lambda v, _: filled.flatten()[0].expand(_sizes(v[0])).clone(), operator[0])


def arange(operator: Operator) -> Value:
    """A range of numbers."""
    if not all(value.known for value in operator.given()):
        raise Cannot("its bounds depend on values")
    dtype = operator[0].dtype
    return operator.both(lambda v, _: torch.arange(*(one.item() for one in v), dtype=dtype), *operator.given())


def reshape(operator: Operator) -> Value:
    """To a shape; in a file with a fixed batch the place of the batch in it is found."""
    x, wanted = operator[0], operator[1]
    if not wanted.known:
        raise Cannot("its shape depends on values")
    keep = not operator.attribute("allowzero", 0)
    fixed = operator.batch if len(x.grows) == 1 and wanted.constant is not None else None
    found = []
    for own, target, batch in zip(x.shapes, wanted.at, BATCHES, strict=True):
        in_file = list(own)
        if fixed is not None:
            in_file[x.grows[0]] = own[x.grows[0]] // batch * fixed
        sizes = _resolved([in_file[i] if one == 0 and keep else one for i, one in enumerate(_sizes(target))], in_file)
        found.append(sizes if fixed is None else _for_batch(sizes, math.prod(own[: x.grows[0]]), fixed, batch))
    return operator.reshape(x, found)


def _resolved(sizes: list[int], own: Sequence[int]) -> list[int]:
    if -1 in sizes:
        rest = math.prod(one for one in sizes if one != -1)
        sizes = [(math.prod(own) // rest if rest else 0) if one == -1 else one for one in sizes]
    if math.prod(sizes) != math.prod(own):
        raise Cannot(f"it reshapes {tuple(own)} to {tuple(sizes)}", "export the model with a free batch dimension")
    return sizes


def _for_batch(sizes: list[int], before: int, fixed: int, batch: int) -> list[int]:
    """A shape that a file has for `fixed` samples, for `batch` samples.

    Row by row nothing moves, so the batch must come behind as many values as before: at the first dimension of the
    new shape before which the sizes multiply to the same.
    """
    place = next((i for i, one in enumerate(sizes) if math.prod(sizes[:i]) == before and one % fixed == 0), None)
    if place is None:
        raise Cannot("it mixes the batch with other dimensions", "export the model with a free batch dimension")
    return [one // fixed * batch if i == place else one for i, one in enumerate(sizes)]


def flatten(operator: Operator) -> Value:
    """To two dimensions."""
    axis = operator.attribute("axis", 1)
    axis += operator[0].rank if axis < 0 else 0
    return operator.reshape(operator[0], [(math.prod(s[:axis]), math.prod(s[axis:])) for s in operator[0].shapes])


def transpose(operator: Operator) -> Value:
    """Other order of dimensions."""
    rank = operator[0].rank
    return operator.permute(operator[0], operator.dims(operator.attribute("perm") or range(rank - 1, -1, -1)))


def squeeze(operator: Operator) -> Value:
    """Without dimensions of one."""
    x, axes = operator[0], operator.integers("axes", 1)
    gone = operator.dims(axes) if axes else [dim for dim, one in enumerate(x.shape) if one == 1]
    if any(dim in x.grows for dim in gone):
        raise Cannot("it removes the batch dimension", "export the model with a free batch dimension")
    return operator.reshape(x, [[one for dim, one in enumerate(s) if dim not in gone] for s in x.shapes])


def unsqueeze(operator: Operator) -> Value:
    """With dimensions of one."""
    x = operator[0]
    axes = operator.integers("axes", 1) or []
    new = sorted(operator.dims(axes, x.rank + len(axes)))
    shapes = []
    for own in x.shapes:
        sizes = list(own)
        for dim in new:
            sizes.insert(dim, 1)
        shapes.append(sizes)
    return operator.reshape(x, shapes)


def expand(operator: Operator) -> Value:
    """Repeats dimensions of one."""
    x, wanted = operator[0], operator[1]
    if not wanted.known:
        raise Cannot("its shape depends on values")
    together: Any = torch.broadcast_shapes
    both = [together(s, _sizes(t)) for s, t in zip(x.shapes, wanted.at, strict=True)]
    return _broadcast(operator, x, both)


def _broadcast(operator: Operator, x: Value, shapes: list[tuple[int, ...]]) -> Value:
    if x.known:
        return operator.both(lambda v, i: v[0].expand(shapes[i]).clone(), x)
    if x.shapes == [tuple(s) for s in shapes]:
        return x
    rank = len(shapes[0])
    x = operator.reshape(x, [(1,) * (rank - x.rank) + s for s in x.shapes])
    new = [dim for dim in range(rank) if shapes[0][dim] != shapes[1][dim] and dim not in x.grows]
    if new:
        if len(new) > 1 or (shapes[0][new[0]], shapes[1][new[0]]) != BATCHES:
            raise Cannot("it repeats a value a number of times that depends on the batch")
        draft = operator.draft
        like = Value(tuple(torch.empty(batch, device="meta") for batch in BATCHES), reference=draft.like)
        x = operator.emit("expand_batch", x, like, dim=new[0])
    if x.shapes == [tuple(s) for s in shapes]:
        return x
    return operator.emit("broadcast", x, shape=[-1 if a == x.shape[dim] else a for dim, a in enumerate(shapes[0])])


def tile(operator: Operator) -> Value:
    """Repeats a value along its dimensions."""
    x, times = operator[0], operator[1]
    if not times.known:
        raise Cannot("its repeats depend on values")
    if x.known or times.constant is not None:
        if x.known:
            return operator.both(lambda v, _: torch.tile(v[0], _sizes(v[1])), x, times)
        return x if all(one == 1 for one in _sizes(times.at[0])) else operator.emit("tile", x, dims=_sizes(times.at[0]))
    repeats = [_sizes(one) for one in times.at]
    if all(size == 1 or r == 1 for size, r in zip(x.shape, repeats[0], strict=True)):
        return _broadcast(
            operator, x,
            [tuple(a * b for a, b in zip(s, r, strict=True)) for s, r in zip(x.shapes, repeats, strict=True)],
        )  # fmt: skip
    raise Cannot("its repeats depend on the batch")


def concat(operator: Operator) -> Value:
    """Values behind each other; in a file with a fixed batch, one that is the same for every sample is repeated."""
    values = operator.given()
    dim = operator.dims([operator.attribute("axis")], values[0].rank)[0]
    values = [value for value in values if 0 not in value.shape] or values[:1]
    if len(values) == 1:
        return values[0]
    grown = {one for value in values for one in value.grows if one != dim}
    if len(grown) == 1 and not all(value.known for value in values):
        (batch,) = grown

        def spread(value: Value) -> Value:
            sizes = [(*s[:batch], b, *s[batch + 1 :]) for s, b in zip(value.shapes, BATCHES, strict=True)]
            return _broadcast(operator, value, sizes)

        values = [value if batch in value.grows or value.shape[batch] != 1 else spread(value) for value in values]
    return operator.emit("concatenate", *values, dim=dim)


def pad(operator: Operator) -> Value:
    """Pads of zeros or another number, mirrored, or of the edge."""
    x = operator[0]
    amounts = operator.integers("pads", 1) or []
    axes = operator.constant(3, "axes")
    dims = list(range(x.rank)) if axes is None else operator.dims(_sizes(axes))
    value = operator.constant(2, "value")
    found = [(0, 0)] * x.rank
    for index, dim in enumerate(dims):
        found[dim] = (amounts[index], amounts[index + len(dims)])
    while found and found[0] == (0, 0):
        found = found[1:]
    if not found:
        return x
    if len(found) == x.rank and 0 in x.grows:
        raise Cannot("it pads the batch")
    mode = operator.attribute("mode", "constant")
    flat = [one for pair in reversed(found) for one in pair]
    if mode == "constant":
        return operator.emit("pad", x, pad=flat, value=0.0 if value is None else value.item())
    found = [(0, 0)] * (x.rank - 2 - len(found)) + found
    flat = [one for pair in reversed(found) for one in pair]
    if len(found) != x.rank - 2 or len(found) > 3:
        raise Cannot(f"torch pads ({mode}) only the last dimensions of a batch")
    name = {"reflect": "reflect", "edge": "replicate", "wrap": "circular"}[mode]
    return operator.emit("pad", x, pad=flat, mode=name)


def _sizes(tensor: Tensor) -> list[int]:
    return [int(one) for one in tensor.flatten()]


def eye_like(operator: Operator) -> Value:
    """Ones on a diagonal."""
    rows, columns = operator[0].shape
    if operator[0].grows:
        raise Cannot("it has the batch for a dimension")
    number = operator.attribute("dtype")
    dtype = operator[0].dtype if number is None else getattr(torch, TYPES[int(number)])
    found = torch.zeros(rows, columns, dtype=dtype)
    found.diagonal(operator.attribute("k", 0)).fill_(1)
    return Value.of(found)


OPERATORS: dict[str, Builder] = {
    "Identity": identity, "Constant": constant, "Shape": shape, "Size": size, "ConstantOfShape": constant_of_shape,
    "Range": arange, "Reshape": reshape, "Flatten": flatten, "Transpose": transpose, "Squeeze": squeeze,
    "Unsqueeze": unsqueeze, "Expand": expand, "Tile": tile, "Concat": concat, "Pad": pad, "EyeLike": eye_like,
}  # fmt: skip
