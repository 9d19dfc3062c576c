"""Calibration: some samples run through the network, and every observer sees what is in its tensor."""

from typing import TYPE_CHECKING, Any

from paring.core.errors import ParingError
from paring.core.model import Model
from paring.core.step import Context
from paring.core.task import Batch

if TYPE_CHECKING:
    from torch import Tensor
    from torch.fx import GraphModule

MOVED = 0.1  # a range that the second half of the samples moves by more than this share of it has not settled
Range = tuple[float, float]


def fed(model: Model, batch: Batch, where: str) -> "tuple[Tensor, ...]":
    """The inputs of a batch, in the order in which the model's module takes them.

    Raises:
        ParingError: one is missing, or of another shape than the model's.
    """
    found = []
    for spec in model.inputs:
        tensor = batch.inputs.get(spec.name)
        if tensor is None:
            raise ParingError(
                f"the calibration data have no {spec.name!r}, but {', '.join(batch.inputs)}",
                where,
                "use data of the kind that the model was made for",
            )
        sizes = list(zip(spec.shape, tensor.shape, strict=False))
        if tensor.ndim != len(spec.shape) or any(isinstance(own, int) and own != given for own, given in sizes):
            raise ParingError(
                f"the calibration data give {spec.name!r} the shape {tuple(tensor.shape)}, the model takes "
                f"{spec.shape}",
                where,
                "use data of the kind that the model was made for",
            )
        found.append(tensor)
    return tuple(found)


def calibrate(prepared: "GraphModule", model: Model, samples: int, context: Context, where: str) -> str:
    """Shows the observers `samples` samples of the calibration split.

    Returns:
        What the user should know of the samples: too few of them, none that differ, or none of a class. Else nothing.

    Raises:
        ParingError: the data do not fit the model, or a tensor holds NaN or infinite values; the layer is named.
    """
    import torch

    from paring.steps.quantize import graph
    from paring.steps.quantize.hints import unseen

    seen, halfway, targets = 0, None, []
    with torch.inference_mode(), context.progress.bar("calibrate", samples) as advance:
        for batch in context.task.batches("calibration", min(32, max(1, samples // 2)), limit=samples):
            if halfway is None and seen and 2 * seen >= samples:
                _refuse_infinite(prepared, where)
                halfway = _ranges(prepared)
            prepared(*fed(model, batch, where))
            seen += len(batch.targets)
            targets.append(batch.targets)
            advance(len(batch.targets), "")
    _refuse_infinite(prepared, where)
    warnings = _warning(prepared, graph.observers(prepared), halfway, seen), unseen(context.task.labels, targets)
    told = "; ".join(filter(None, warnings))
    if told:
        context.progress.note(f"{where}: {told}")
    return told


def _warning(prepared: "GraphModule", observers: dict[str, Any], halfway: dict[str, Range] | None, seen: int) -> str:
    from paring.steps.quantize import graph

    for name, observer in observers.items():
        low, high = getattr(observer, "min_val", None), getattr(observer, "max_val", None)
        if low is not None and bool(low == high) and graph.layer_of_observers(prepared)[name] == "the input":
            return "the calibration data are constant, and the ranges mean little: calibrate on real samples"
    if seen == 1 or halfway is None:
        return "calibrated on a single sample, which shows no range: 100 or more are usual" if seen == 1 else ""
    moved = {}
    for name, (low, high) in _ranges(prepared).items():
        before = halfway[name]
        moved[name] = max(abs(low - before[0]), abs(high - before[1])) / max(high - low, 1e-30)
    unsettled = [name for name, share in moved.items() if share > MOVED]
    if not unsettled:
        return ""
    worst = max(unsettled, key=lambda name: moved[name])
    return (
        f"the ranges of {len(unsettled)} of {len(moved)} tensors have not settled: the second half of the {seen} "
        f"samples moved that of {graph.layer_of_observers(prepared)[worst]} by {moved[worst]:.0%}; give more samples"
    )


def _ranges(prepared: "GraphModule") -> dict[str, Range]:
    """Observer -> the smallest and the largest value that has a code; a shared one counts once."""
    from paring.steps.quantize import graph

    found: dict[str, Range] = {}
    known: set[int] = set()
    for name, observer in graph.observers(prepared).items():
        if id(observer) not in known:
            known.add(id(observer))
            scale, zero = (float(value) for value in observer.calculate_qparams())
            found[name] = ((observer.quant_min - zero) * scale, (observer.quant_max - zero) * scale)
    return found


def _refuse_infinite(prepared: "GraphModule", where: str) -> None:
    import torch

    from paring.steps.quantize import graph

    for name, observer in graph.observers(prepared).items():
        low_high = [getattr(observer, end, torch.zeros(1)) for end in ("min_val", "max_val")]
        if not all(bool(torch.isfinite(end).all()) for end in low_high):
            raise ParingError(
                "calibration saw NaN or infinite values",
                f"{where}: {graph.layer_of_observers(prepared)[name]}",
                "look for NaN in the calibration data and in the weights (paring inspect)",
            )
