"""Changes of resolution."""

import torch
from torch import Tensor

from paring.load.onnx.build import Builder, Operator
from paring.load.onnx.draft import Cannot, Value

_LINEAR = {3: "linear", 4: "bilinear", 5: "trilinear"}


def resize(operator: Operator) -> Value:
    """Resize, and Upsample of old. Channels keep their number."""
    x = operator[0]
    scales, sizes = _wanted(operator)
    rank, mode = x.rank, operator.attribute("mode", "nearest")
    size = [one if sizes is None else sizes[dim] for dim, one in enumerate(_scaled(x, scales))]
    factors = [b / a for a, b in zip(x.shape, size, strict=True)] if scales is None else scales
    if rank not in _LINEAR or any(factors[dim] != 1 for dim in (0, 1) if dim not in x.grows) or 1 in x.grows:
        raise Cannot("it resizes something other than the last dimensions of an image")
    if list(size[2:]) == list(x.shape[2:]) and all(factor == 1 for factor in factors[2:]):
        return x
    how = operator.attribute("coordinate_transformation_mode", "half_pixel")
    how = "asymmetric" if operator.kind == "Upsample" else how
    if mode == "nearest":
        return _nearest(operator, x, size, factors, how)
    # a scale that is not the ratio of the sizes shifts the coordinates
    ratio = scales is None or all(
        abs(a * f - b) < 1e-4 for a, b, f in zip(x.shape[2:], size[2:], factors[2:], strict=True)
    )
    by = {"size": size[2:]} if ratio else {"scale": [float(one) for one in factors[2:]]}
    corners = {"half_pixel": False, "pytorch_half_pixel": False, "align_corners": True}.get(how)
    plain = how != "pytorch_half_pixel" or all(one > 1 for one in size[2:])
    anti = bool(operator.attribute("antialias", 0))
    if mode == "linear" and corners is not None and plain and not (anti and rank != 4):
        return operator.emit(
            "interpolate", x, mode=_LINEAR[rank], align_corners=corners, antialias=anti, **by
        )  # fmt: skip
    cubic = mode == "cubic" and rank == 4 and operator.attribute("cubic_coeff_a", -0.75) == (-0.5 if anti else -0.75)
    if cubic and corners is not None and plain and not operator.attribute("exclude_outside", 0):
        return operator.emit("interpolate", x, mode="bicubic", align_corners=corners, antialias=anti, **by)
    if mode == "linear" and not anti:
        return _by_products(operator, x, size, factors, how)
    raise Cannot(f"{mode} with coordinates {how!r} has no counterpart")


def _wanted(operator: Operator) -> tuple[list[float] | None, list[int] | None]:
    if operator.attribute("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise Cannot("it keeps the aspect ratio")
    old = operator.kind == "Upsample"
    axes = operator.attribute("axes")
    rank = operator[0].rank
    scales = operator.get(1 if old else 2)
    sizes = None if old else operator.get(3)
    for value in (scales, sizes):
        if value is not None and not value.known:
            raise Cannot("its size depends on values")

    def spread(tensor: Tensor, default: list[float]) -> list[float]:
        found = list(default)
        for dim, one in zip(operator.dims(axes) if axes else range(rank), tensor.flatten().tolist(), strict=True):
            found[dim] = one
        return found

    if sizes is not None and sizes.at[0].numel():
        shape = [float(one) for one in operator[0].shape]
        found = [int(one) for one in spread(sizes.at[0], shape)]
        if 0 in operator[0].grows:
            found[0] = operator[0].shape[0]
        return None, found
    if scales is None or not scales.at[0].numel():
        raise Cannot("lacks its size")
    return spread(scales.at[0], [1.0] * rank), None


def _scaled(x: Value, scales: list[float] | None) -> list[int]:
    return [
        int(torch.tensor(one) * torch.tensor(scale))
        for one, scale in zip(x.shape, scales or [1.0] * x.rank, strict=True)
    ]


def _places(old: int, new: int, factor: float, how: str) -> Tensor:
    """Where each new value lies between the old ones."""
    at = torch.arange(new, dtype=torch.float32)  # as precise as ONNX Runtime: at a border it matters
    if how in ("half_pixel", "pytorch_half_pixel"):
        return torch.zeros(1) if how[0] == "p" and new == 1 else (at + 0.5) / factor - 0.5
    if how == "asymmetric":
        return at / factor
    if how == "align_corners":
        return at * (old - 1) / max(new - 1, 1)
    raise Cannot(f"its coordinates are {how!r}")


def _nearest(operator: Operator, x: Value, size: list[int], factors: list[float], how: str) -> Value:
    """As torch does it where that is the same, else by picking rows."""
    rounding = operator.attribute("nearest_mode", "round_prefer_floor")
    rounding = "floor" if operator.kind == "Upsample" else rounding
    picked = {}
    same = True
    for dim in range(2, x.rank):
        places = _places(x.shape[dim], size[dim], factors[dim], how)
        whole = {
            "floor": places.floor(), "ceil": places.ceil(), "round_prefer_floor": (places - 0.5).ceil(),
            "round_prefer_ceil": (places + 0.5).floor(),
        }[rounding]  # fmt: skip
        picked[dim] = whole.long().clamp(0, x.shape[dim] - 1)
        ratio = size[dim] / x.shape[dim]
        same &= torch.equal(picked[dim], (torch.arange(size[dim]) / ratio).floor().long().clamp(max=x.shape[dim] - 1))
    if same:
        return operator.emit("interpolate", x, mode="nearest", size=size[2:])
    for dim, index in picked.items():
        if not torch.equal(index, torch.arange(x.shape[dim])):
            x = operator.emit("rows", x, Value.of(index), dim=dim)
    return x


def _by_products(operator: Operator, x: Value, size: list[int], factors: list[float], how: str) -> Value:
    """Linear interpolation along a dimension is a product with a matrix."""
    for dim in range(2, x.rank):
        old, new = x.shape[dim], size[dim]
        if old == new and factors[dim] == 1:
            continue
        places = _places(old, new, factors[dim], how).clamp(0, old - 1)
        low = places.floor().long()
        share = (places - low).float()
        matrix = torch.zeros(new, old)
        matrix.scatter_add_(1, low[:, None], 1 - share[:, None])
        matrix.scatter_add_(1, (low + 1).clamp(max=old - 1)[:, None], share[:, None])
        order = [*(d for d in range(x.rank) if d != dim), dim]
        back = [order.index(d) for d in range(x.rank)]
        x = operator.permute(operator.emit("matmul", operator.permute(x, order), Value.of(matrix.T)), back)
    return x


def depth_to_space(operator: Operator) -> Value:
    """Blocks of channels become blocks of pixels."""
    block = int(operator.attribute("blocksize"))
    if operator.attribute("mode", "DCR") == "CRD":
        return operator.emit("pixel_shuffle", operator[0], upscale_factor=block)
    return operator.emit("depth_to_space", operator[0], size=block)


def space_to_depth(operator: Operator) -> Value:
    """The inverse."""
    return operator.emit("space_to_depth", operator[0], size=int(operator.attribute("blocksize")))


OPERATORS: dict[str, Builder] = {
    "Resize": resize,
    "Upsample": resize,
    "DepthToSpace": depth_to_space,
    "SpaceToDepth": space_to_depth,
}
