"""What is used of torchao's PT2E, imported in one place and in silence: torchao tells of GPU kernels that it lacks."""

from paring.core.quiet import quiet

with quiet():
    from torchao.quantization.pt2e.observer import (
        FixedQParamsObserver,
        MinMaxObserver,
        MovingAverageMinMaxObserver,
        ObserverBase,
        PerChannelMinMaxObserver,
    )
    from torchao.quantization.pt2e.prepare import prepare
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e
    from torchao.quantization.pt2e.quantizer import (
        FixedQParamsQuantizationSpec,
        QuantizationAnnotation,
        QuantizationSpec,
        Quantizer,
        SharedQuantizationSpec,
    )
    from torchao.quantization.pt2e.quantizer.quantizer import Q_ANNOTATION_KEY
    from torchao.quantization.pt2e.utils import _get_node_name_to_scope as scopes

__all__ = [
    "Q_ANNOTATION_KEY",
    "FixedQParamsObserver",
    "FixedQParamsQuantizationSpec",
    "MinMaxObserver",
    "MovingAverageMinMaxObserver",
    "ObserverBase",
    "PerChannelMinMaxObserver",
    "QuantizationAnnotation",
    "QuantizationSpec",
    "Quantizer",
    "SharedQuantizationSpec",
    "convert_pt2e",
    "prepare",
    "scopes",
]
