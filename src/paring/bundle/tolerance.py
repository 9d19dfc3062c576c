"""How far an answer may be from the golden one: on the machine that gave it, and on any other."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from paring.bundle.manifest import FileEnd, Tolerance
from paring.core.target import Array
from paring.measure import machine

_FLOAT = 1e-4  # of the largest value: sums in another order
_HALF = 2e-2  # likewise, in float16, which holds three digits
_CODES = {"onnxruntime": 2, "openvino": 2}
_CODES_ELSEWHERE = 1
_CODES_UNSEEN = 2  # where the runtime could not be asked
_ROOM = 0.01  # of a code, for the decoding itself
_VALUES = 256  # that an int8 output has at most


@dataclass(frozen=True)
class Shipped:
    """An artifact of a run.

    Attributes:
        target: as in the recipe.
        path: of the file, or of the folder.
        integers: whether operators in it compute on integers.
    """

    target: str
    path: Path
    integers: bool


def tolerance(one: Shipped, expected: Array, seen: Array, end: FileEnd, ran: bool) -> Tolerance:
    """Of one output.

    Args:
        one: the artifact.
        expected: golden answers.
        seen: the model's answers on the test split, which show the steps that a quantized output takes.
        end: the output in the file.
        ran: whether the file itself gave `expected`; else the model in PyTorch did.
    """
    largest = float(np.abs(expected).max())
    processor = machine.cpu()
    if not ran:
        apart, why = _HALF * largest, "expected are the answers in PyTorch, float32; the runtime may compute in float16"
        if one.integers:
            apart = max(apart, (_CODES_UNSEEN + _ROOM) * _step(seen))
            why += f", and may round codes the other way: {_CODES_UNSEEN} of them where that is more; not measured"
        return Tolerance(same=apart, elsewhere=apart, processor=processor, why=why)
    if not one.integers:
        why = "float: 1e-4 of the largest value, as kernels add in different orders"
        return Tolerance(same=_FLOAT * largest, elsewhere=_FLOAT * largest, processor=processor, why=why)
    codes = _CODES.get(one.target, _CODES_ELSEWHERE)
    step = end.scale or _step(seen)
    many = "1 code" if codes == 1 else f"{codes} codes"
    why = (
        f"integers: the same kernels give the same codes; other processors' may round a half the other way: {many} of "
        f"{step:.6g}"
    )
    return Tolerance(same=0.0, elsewhere=(codes + _ROOM) * step, processor=processor, why=why)


def _step(seen: Array) -> float:
    """The distance of neighbouring codes; of an output that is no longer codes, a 255th of its range."""
    values = np.unique(seen)
    if 2 <= len(values) <= _VALUES:
        return float(np.diff(values).min())
    return float(np.ptp(values)) / (_VALUES - 1)
