"""What is known of a layer's rounding: gathered from a network whose scales are known."""

from typing import Any

import torch
from torch import Tensor

from paring.steps.quantize.annotate import fused_activation, kind_of
from paring.steps.quantize.causes import Facts, output_facts, weight_facts
from paring.steps.quantize.partial import Partial
from paring.steps.quantize.scheme import BITS, Scheme

_BOUNDED = ("hardtanh", "relu6", "sigmoid", "softmax", "tanh")


def facts_of(network: Partial, layer: str, scheme: Scheme, output: Tensor | None) -> Facts:
    """The facts of one layer.

    Args:
        network: of which it is a layer.
        layer: its name.
        scheme: of the network.
        output: what the layer gives in float on some samples; None where it is not known.
    """
    found = network.weighted(layer)
    weight: Any = network.module.get_parameter(found.weight).detach()
    rounding = network.module.get_submodule(str(found.observer))
    activation = fused_activation(found.node)
    seen: dict[str, Any] = {
        "activation": 120.0,
        "output_channels": 1.0,
        "worst_channel": 0,
        "tail": 1.0,
        "clipped": 0.0,
    }
    known = network.output_rounding(layer)
    if output is not None and known is not None:
        scale, zero_point = float(known.scale), int(known.zero_point)
        low, high = ((code - zero_point) * scale for code in (known.low, known.high))
        seen = output_facts(output.float(), low, high, scale)
    with torch.inference_mode():
        rounded = rounding.rounded(weight)  # type: ignore[operator]
    precision = scheme.of(layer)
    return Facts(
        kind=kind_of(found.node),
        bits=BITS.get(precision.weights, 32),
        granularity=precision.granularity or scheme.granularity,
        bounded=activation is not None and any(name in str(activation.target) for name in _BOUNDED),
        **weight_facts(weight, rounded, found.axis),
        **seen,
    )
