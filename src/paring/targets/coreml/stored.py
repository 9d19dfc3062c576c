"""Weights in few bits, put into a program in the place of its float constants.

A `constexpr_` operator of MIL is a constant that is written in short: Core ML unfolds it when it loads the model, or
while it runs it.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from paring.core.codes import Codes
from paring.targets.coreml.library import Builder, ScopeInfo, ScopeSource, constexpr_lut, types

_INT4 = types.nptype_from_builtin(types.int4)
_UNKNOWN = [  # what every operator of a program must say of where it was traced from
    ScopeInfo(source=source, data=[None]) for source in (ScopeSource.EXIR_STACK_TRACE, ScopeSource.EXIR_DEBUG_HANDLE)
]


def store(program: Any, wanted: Mapping[str, tuple[str, Codes]], system: str, precision: str) -> list[str]:
    """Replaces float constants, in place.

    Args:
        program: as coremltools translated it, not optimised yet.
        wanted: name of a constant -> the layer whose weight it is, and how it is to be stored.
        system: the oldest to run it, e.g. `iOS17`.
        precision: that the program will compute in.

    Returns:
        Layers whose weight is no constant of the program.
    """
    found = set()
    for function in program.functions.values():
        with function, Builder.scope(*_UNKNOWN):
            for held in list(function.operations):
                if held.op_type == "const" and held.name in wanted:
                    layer, codes = wanted[held.name]
                    found.add(layer)
                    short = _written(held, layer, codes, system, precision)
                    function.replace_uses_of_var_after_op(anchor_op=held, old_var=held.outputs[0], new_var=short)
    return sorted({layer for layer, _ in wanted.values()} - found)


def _written(held: Any, layer: str, codes: Codes, system: str, precision: str) -> Any:
    """What stands for a constant where it is stored as its codes."""
    weight = held.val.val
    stored = codes.of(weight)
    if stored is None:
        raise ValueError(f"{layer}: its weight is none of {codes.dtype} codes")
    told = {"before_op": held, "name": f"{held.name}_{codes.dtype}"}
    if codes.dtype == "float16":
        if precision == "float16":  # as every constant will be
            return held.outputs[0]
        return Builder.constexpr_cast(source_val=stored, output_dtype="fp32", **told)
    if codes.table:
        table = np.zeros(2 ** int(codes.dtype.removeprefix("palette")), np.float32)
        table[: len(codes.table)] = codes.table
        return constexpr_lut(stored, table.reshape(*[1] * weight.ndim, -1, 1), **told)
    scales = np.array(codes.scales, np.float32)
    if system == "iOS17":
        zeros, axis = np.zeros(len(scales), np.int8), np.int32(codes.axis)
        return Builder.constexpr_affine_dequantize(
            quantized_data=stored, zero_point=zeros, scale=scales, axis=axis, **told
        )
    shape = [1] * weight.ndim
    shape[codes.axis] = weight.shape[codes.axis]
    if codes.block:
        shape[1 - codes.axis] = weight.shape[1 - codes.axis] // codes.block
    data = stored.astype(_INT4) if codes.dtype == "int4" else stored
    return Builder.constexpr_blockwise_shift_scale(data=data, scale=scales.reshape(shape), **told)
