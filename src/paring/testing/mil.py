"""What a Core ML program gives, computed by PyTorch: for tests, where no Core ML is at hand.

It has the operators of the networks beside it and no others. It shows that a package holds what the model is; how Core
ML itself rounds, it does not show.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from paring.core.target import Array

_TYPES = {
    "bool": torch.bool,
    "fp32": torch.float32,
    "fp16": torch.float16,
    "int32": torch.int32,
    "int8": torch.int8,
    "uint8": torch.uint8,
}


def answers(package: Path, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Outputs by name, for a batch of any size, sample by sample."""
    from paring.targets.coreml.package import program

    (function,) = program(package).functions.values()
    count = len(next(iter(inputs.values())))
    given = [_run(function, {name: values[i : i + 1] for name, values in inputs.items()}) for i in range(count)]
    return {name: np.concatenate([one[name] for one in given]) for name in given[0]}


def _run(function: Any, inputs: Mapping[str, Array]) -> dict[str, Array]:
    values: dict[str, Any] = {name: torch.from_numpy(array) for name, array in inputs.items()}
    for one in function.operations:
        if one.op_type == "const":
            values[one.outputs[0].name] = _constant(one.outputs[0].val)
        elif one.op_type.startswith("constexpr_"):
            values[one.outputs[0].name] = _constant(one.materialized_val_inference())
        else:
            given = {
                name: [values[each.name] for each in var] if isinstance(var, list | tuple) else values[var.name]
                for name, var in one.inputs.items()
                if var is not None
            }
            values[one.outputs[0].name] = _OPERATORS[one.op_type](given)
    return {var.name: values[var.name].numpy() for var in function.outputs}


def _constant(value: Any) -> Any:
    numbers = isinstance(value, np.generic) and value.dtype.kind in "fiu"
    return torch.as_tensor(np.asarray(value)) if numbers or isinstance(value, np.ndarray) else value


def _conv(given: Mapping[str, Any]) -> Tensor:
    top, bottom, left, right = given["pad"].tolist()
    assert given["pad_type"] in {"custom", "valid"}
    image = given["x"] if given["pad_type"] == "valid" else functional.pad(given["x"], (left, right, top, bottom))
    return functional.conv2d(
        image, given["weight"], given["bias"], given["strides"].tolist(), 0, given["dilations"].tolist(),
        int(given["groups"]),
    )  # fmt: skip


def _max_pool(given: Mapping[str, Any]) -> Tensor:
    assert given["pad_type"] in {"custom", "valid"}
    assert not given["pad"].any()
    found: Tensor = functional.max_pool2d(
        given["x"], given["kernel_sizes"].tolist(), given["strides"].tolist(), ceil_mode=bool(given["ceil_mode"])
    )
    return found


def _quantize(given: Mapping[str, Any]) -> Tensor:
    kind = _TYPES[given["output_dtype"]]
    limits = torch.iinfo(kind)
    codes: Tensor = torch.round(given["input"] / given["scale"]) + given.get("zero_point", 0)
    return codes.clamp(limits.min, limits.max).to(kind)


def _dequantize(given: Mapping[str, Any]) -> Tensor:
    kind = given["scale"].dtype
    values: Tensor = (given["input"].to(kind) - torch.as_tensor(given.get("zero_point", 0)).to(kind)) * given["scale"]
    return values


def _slice(given: Mapping[str, Any]) -> Tensor:
    x: Tensor = given["x"]
    rank = x.ndim
    masks = {name: np.broadcast_to(given.get(f"{name}_mask", False), rank) for name in ("begin", "end", "squeeze")}
    strides = given["stride"].tolist() if "stride" in given else [1] * rank
    chosen: list[Any] = []
    for axis, (begin, end, stride) in enumerate(
        zip(given["begin"].tolist(), given["end"].tolist(), strides, strict=True)
    ):
        if masks["squeeze"][axis]:
            chosen.append(begin)
        else:
            chosen.append(slice(None if masks["begin"][axis] else begin, None if masks["end"][axis] else end, stride))
    return x[tuple(chosen)]


def _gather_nd(given: Mapping[str, Any]) -> Tensor:
    assert not int(given.get("batch_dims", 0))
    found: Tensor = given["x"][tuple(given["indices"].long().unbind(-1))]
    return found


def _matmul(given: Mapping[str, Any]) -> Tensor:
    x, y = (given[name].mT if bool(given.get(f"transpose_{name}", False)) else given[name] for name in ("x", "y"))
    found: Tensor = x @ y
    return found


def _layer_norm(given: Mapping[str, Any]) -> Tensor:
    shape = given["gamma"].shape
    assert [axis % given["x"].ndim for axis in given["axes"].tolist()] == [given["x"].ndim - 1]
    return functional.layer_norm(given["x"], shape, given["gamma"], given["beta"], float(given["epsilon"]))


def _gelu(given: Mapping[str, Any]) -> Tensor:
    assert given.get("mode", "EXACT") == "EXACT"
    return functional.gelu(given["x"])


def _gather(given: Mapping[str, Any]) -> Tensor:
    assert not int(given.get("batch_dims", 0))
    indices = given["indices"].long()
    found = given["x"].index_select(int(given["axis"]), indices.reshape(-1))
    before, after = found.shape[: int(given["axis"])], found.shape[int(given["axis"]) + 1 :]
    gathered: Tensor = found.reshape(*before, *indices.shape, *after)
    return gathered


_OPERATORS: Mapping[str, Callable[[Mapping[str, Any]], Any]] = {
    "add": lambda given: given["x"] + given["y"],
    "cast": lambda given: given["x"].to(_TYPES[given["dtype"]]),
    "clip": lambda given: given["x"].clamp(given["alpha"], given["beta"]),
    "concat": lambda given: torch.cat(given["values"], int(given["axis"])),
    "conv": _conv,
    "dequantize": _dequantize,
    "gather": _gather,
    "gather_nd": _gather_nd,
    "gelu": _gelu,
    "greater_equal": lambda given: given["x"] >= given["y"],
    "layer_norm": _layer_norm,
    "linear": lambda given: functional.linear(given["x"], given["weight"], given.get("bias")),
    "logical_and": lambda given: torch.logical_and(torch.as_tensor(given["x"]), torch.as_tensor(given["y"])),
    "matmul": _matmul,
    "max_pool": _max_pool,
    "mul": lambda given: given["x"] * given["y"],
    "quantize": _quantize,
    "reduce_mean": lambda given: given["x"].mean(given["axes"].tolist(), keepdim=bool(given["keep_dims"])),
    "relu": lambda given: given["x"].relu(),
    "reshape": lambda given: given["x"].reshape(given["shape"].tolist()),
    "select": lambda given: torch.where(given["cond"], given["a"], given["b"]),
    "slice_by_index": _slice,
    "softmax": lambda given: given["x"].softmax(int(given["axis"])),
    "transpose": lambda given: given["x"].permute(given["perm"].tolist()),
}
