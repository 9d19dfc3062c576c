"""Calibration: some samples run through the network, and every observer sees what is in its tensor."""

from typing import TYPE_CHECKING

from paring.core.errors import ParingError
from paring.core.model import Model
from paring.core.step import Context

if TYPE_CHECKING:
    from torch.fx import GraphModule


def calibrate(prepared: "GraphModule", model: Model, samples: int, context: Context, where: str) -> None:
    """Shows the observers `samples` samples of the calibration split.

    Raises:
        ParingError: a tensor holds NaN or infinite values; the layer is named.
    """
    import torch

    from paring.steps.quantize import graph

    with torch.inference_mode(), context.progress.bar("calibrate", samples) as advance:
        for batch in context.task.batches("calibration", 32, limit=samples):
            prepared(*(batch.inputs[spec.name] for spec in model.inputs))
            advance(len(batch.targets), "")
    for name, observer in graph.observers(prepared).items():
        low_high = [getattr(observer, end, torch.zeros(1)) for end in ("min_val", "max_val")]
        if not all(bool(torch.isfinite(end).all()) for end in low_high):
            raise ParingError(
                "calibration saw NaN or infinite values",
                f"{where}: {graph.layer_of_observers(prepared)[name]}",
                "look for NaN in the calibration data and in the weights (paring inspect)",
            )
