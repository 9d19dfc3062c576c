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

_TYPES = {"fp32": torch.float32, "fp16": torch.float16, "int32": torch.int32, "int8": torch.int8, "uint8": torch.uint8}


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
            given = {name: values[var.name] for name, var in one.inputs.items() if var is not None}
            values[one.outputs[0].name] = _OPERATORS[one.op_type](given)
    return {var.name: values[var.name].numpy() for var in function.outputs}


def _constant(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "fiu":
        return torch.as_tensor(np.asarray(value))
    return value


def _conv(given: Mapping[str, Any]) -> Tensor:
    top, bottom, left, right = given["pad"].tolist()
    assert given["pad_type"] in {"custom", "valid"}
    image = given["x"] if given["pad_type"] == "valid" else functional.pad(given["x"], (left, right, top, bottom))
    return functional.conv2d(
        image, given["weight"], given["bias"], given["strides"].tolist(), 0, given["dilations"].tolist(),
        int(given["groups"]),
    )  # fmt: skip


def _quantize(given: Mapping[str, Any]) -> Tensor:
    kind = _TYPES[given["output_dtype"]]
    limits = torch.iinfo(kind)
    codes = torch.round(given["input"] / given["scale"]) + given.get("zero_point", 0)
    return codes.clamp(limits.min, limits.max).to(kind)


def _dequantize(given: Mapping[str, Any]) -> Tensor:
    kind = given["scale"].dtype
    values: Tensor = (given["input"].to(kind) - torch.as_tensor(given.get("zero_point", 0)).to(kind)) * given["scale"]
    return values


_OPERATORS: Mapping[str, Callable[[Mapping[str, Any]], Any]] = {
    "add": lambda given: given["x"] + given["y"],
    "cast": lambda given: given["x"].to(_TYPES[given["dtype"]]),
    "clip": lambda given: given["x"].clamp(given["alpha"], given["beta"]),
    "conv": _conv,
    "dequantize": _dequantize,
    "gather": lambda given: given["x"][given["indices"].long()],
    "linear": lambda given: functional.linear(given["x"], given["weight"], given["bias"]),
    "quantize": _quantize,
    "reduce_mean": lambda given: given["x"].mean(given["axes"].tolist(), keepdim=bool(given["keep_dims"])),
}
