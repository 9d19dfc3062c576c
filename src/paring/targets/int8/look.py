"""What a model's full-int8 file holds, or will hold once it is quantized; looked at once for all targets."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from weakref import WeakKeyDictionary

from torch import nn

from paring.core.errors import ParingError
from paring.core.model import Model
from paring.core.target import Problem
from paring.targets import parity
from paring.targets.int8 import INT8_ENDS
from paring.targets.int8.operators import Operator, of_file
from paring.targets.int8.predict import predicted
from paring.targets.litert.check import problems
from paring.targets.litert.export import export
from paring.targets.traced import shared, trace


@dataclass(frozen=True)
class Seen:
    """A model's operators.

    Attributes:
        problems: why LiteRT cannot hold it.
        operators: of its file; none where it cannot be told.
    """

    problems: Sequence[Problem]
    operators: Sequence[Operator]


_seen: "WeakKeyDictionary[nn.Module, Seen]" = WeakKeyDictionary()
_files: "WeakKeyDictionary[nn.Module, bytes]" = WeakKeyDictionary()


def look(model: Model) -> Seen:
    """The operators of a quantized model's file; of a float one those that are to be expected."""
    if model.module not in _seen:
        _seen[model.module] = _look(model)
    return _seen[model.module]


def file_of(model: Model) -> bytes:
    """A quantized model as LiteRT's full-int8 file.

    Raises:
        ParingError: LiteRT cannot hold it.
    """
    if model.module not in _files:
        with TemporaryDirectory() as folder, parity.watched(off=True):  # each target runs it, and tells of it
            _files[model.module] = export(model, Path(folder) / "model.tflite", INT8_ENDS).read_bytes()
    return _files[model.module]


def _look(model: Model) -> Seen:
    if model.quantized:
        try:
            return Seen((), of_file(file_of(model)))
        except ParingError as error:
            return Seen([Problem(error.problem, error.where, error.remedy)], ())
    try:
        program = trace(model)
    except Exception:  # torch.export raises many kinds, which `problems` tells of
        return Seen(problems(model), ())
    with shared(model, program):
        found = problems(model)
        return Seen(found, () if found else predicted(model))
