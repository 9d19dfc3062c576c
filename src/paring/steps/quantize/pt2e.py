"""What is used of torchao's PT2E, imported in one place and in silence: torchao tells of GPU kernels that it lacks."""

from typing import Any

from torch.fx import GraphModule
from torch.fx.passes.infra.pass_manager import PassManager

from paring.core.quiet import quiet

with quiet():
    from torchao.quantization.pt2e.convert import _convert_to_reference_decomposed_fx
    from torchao.quantization.pt2e.observer import (
        FixedQParamsObserver,
        MinMaxObserver,
        MovingAverageMinMaxObserver,
        ObserverBase,
        PerChannelMinMaxObserver,
    )
    from torchao.quantization.pt2e.prepare import prepare
    from torchao.quantization.pt2e.quantize_pt2e import DuplicateDQPass, PortNodeMetaForQDQ
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
    "converted",
    "prepare",
    "scopes",
]


def converted(prepared: GraphModule) -> GraphModule:
    """The graph with a quantize–dequantize pair in the place of every observer; weights stay in float.

    As torchao's `convert_pt2e`, without its search for batch norms that its own QAT left: that traces a dozen patterns,
    which takes longer than all else, and looks for what is never there.
    """
    kept: dict[str, Any] = dict(prepared.meta)
    graph = _convert_to_reference_decomposed_fx(prepared)
    for change in (DuplicateDQPass(), PortNodeMetaForQDQ()):
        graph = PassManager([change])(graph).graph_module
    graph.meta.update(kept)
    found: GraphModule = graph
    return found
