"""A model becomes a `.ptl` for PyTorch's lite interpreter."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from paring.core import atomic
from paring.core.errors import ParingError
from paring.core.model import Model
from paring.core.quiet import quiet
from paring.core.target import FLOAT_ENDS, ExportOptions
from paring.targets import parity, scales, zeros
from paring.targets.torchmobile import TorchMobile, TorchMobileOptions, graph, script
from paring.targets.torchmobile.check import problems
from paring.targets.torchmobile.contents import contents_of
from paring.targets.traced import first_line, samples

SCHEMA = 1  # of the metadata in the file
_WHERE = "export to torchmobile"


def export(model: Model, path: Path, options: ExportOptions = FLOAT_ENDS) -> Path:
    """Writes `model` to `path`, batch size one. Same model, same bytes.

    Activations of a quantized model are uint8, 128 more than the model's codes, and with `io: int8` inputs and outputs
    are uint8, too. Weights are int8.

    Raises:
        ParingError: PyTorch Mobile cannot run the model, `io: int8` for a float model, `mode: script` for a quantized
            one, `optimize` where this PyTorch is built without XNNPACK, what was quantized came out float, zeros were
            lost, or the disk is full. Nothing is written then.
    """
    given = options if isinstance(options, TorchMobileOptions) else TorchMobileOptions(**options.model_dump())
    _possible(model, given)
    found = problems(model)
    if found:
        raise ParingError("; ".join(map(str, found)), _WHERE, found[0].remedy)
    try:
        made, metadata = _scripted(model, given)
        content = script.written(made, metadata)
        stored = contents_of(content).tensors
    except Exception as error:  # torch.jit raises many kinds
        raise ParingError(
            f"PyTorch could not make TorchScript of the model: {first_line(error)}",
            _WHERE,
            "mode: trace" if given.mode == "script" else "replace the layer that the message names",
        ) from error
    scales.require(model, (one.scales for one in stored), _WHERE, codes=True)
    zeros.require(model, stored, _WHERE)
    if given.optimize:  # which hides weights in objects that cannot be looked into
        content = script.written(_optimized(made), metadata)
    with atomic.write(path) as temporary:
        temporary.write_bytes(content)
        parity.require(TorchMobile(), model, temporary, options)
    return path


def _possible(model: Model, options: TorchMobileOptions) -> None:
    if options.io == "int8" and not model.quantized:
        raise ParingError(
            "int8 inputs and outputs need a quantized model", _WHERE, "add quantize.static, or io: float32"
        )
    if options.mode == "script" and model.fixed:
        raise ParingError("a quantized model is a graph already: there is no code to script", _WHERE, "mode: trace")
    if options.optimize and not optimizable():
        raise ParingError(
            "optimize_for_mobile needs XNNPACK, and this PyTorch is built without it",
            _WHERE,
            "a build of PyTorch with USE_XNNPACK=1, or leave `optimize` out",
        )


def _scripted(model: Model, options: TorchMobileOptions) -> tuple[Any, dict[str, Any]]:
    """The module to write, and what its file says of its ends."""
    network, ends = model.module, graph.Ends([None] * len(model.inputs), [None] * len(model.outputs))
    if model.fixed:
        network, ends = graph.rewritten(model, options.io == "int8")
    given = [
        one if scale is None else one.to(torch.uint8)
        for one, scale in zip(samples(model.inputs), ends.inputs, strict=True)
    ]
    called = script.function(network, given, options.mode)
    turned = [options.layout == "NHWC" and spec.layout == "NCHW" for spec in model.inputs]
    held = {
        spec.name: graph.end(spec.sized(1), spec.dtype, scale, last)
        for spec, scale, last in zip(model.inputs, ends.inputs, turned, strict=True)
    } | {
        spec.name: graph.end(spec.sized(1), spec.dtype, scale)
        for spec, scale in zip(model.outputs, ends.outputs, strict=True)
    }
    fed = [one.permute(0, 2, 3, 1).contiguous() if last else one for one, last in zip(given, turned, strict=True)]
    metadata = {
        "schema": SCHEMA,
        "layout": options.layout,
        "inputs": [spec.as_json() for spec in model.inputs],
        "outputs": [spec.as_json() for spec in model.outputs],
        "ends": {name: asdict(end) for name, end in held.items()},
    }
    return script.module(_forward(called, turned), fed, [spec.name for spec in model.inputs]), metadata


def _forward(called: Callable[..., Any], turned: Sequence[bool]) -> Callable[..., Any]:
    """What the file computes: images that it takes channels last are turned; one answer is no tuple."""

    def forward(*given: Tensor) -> Any:
        fed = [one.permute(0, 3, 1, 2) if last else one for one, last in zip(given, turned, strict=True)]
        answer = called(*fed)
        return answer[0] if isinstance(answer, list | tuple) and len(answer) == 1 else answer

    return forward


def optimizable() -> bool:
    """Whether this build of PyTorch can run `optimize_for_mobile`."""
    return bool(torch._C._is_xnnpack_enabled())


def _optimized(made: Any) -> Any:
    from torch.utils.mobile_optimizer import optimize_for_mobile

    with quiet():
        return optimize_for_mobile(made)
