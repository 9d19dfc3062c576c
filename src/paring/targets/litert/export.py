"""A model becomes a `.tflite`, by litert-torch."""

from operator import attrgetter
from pathlib import Path
from typing import Any

from torch import nn
from torch.fx import GraphModule, Node

from paring.core import atomic
from paring.core.codes import LARGEST, Codes
from paring.core.errors import ParingError
from paring.core.model import Model
from paring.core.quiet import quiet
from paring.core.target import FLOAT_ENDS, ExportOptions
from paring.targets import parity, scales, zeros
from paring.targets.litert import (
    LiteRT,
    codes,
    contents,
    converter,
    flatbuffer,
    means,
    pads,
    rewrite,
    transposed,
    wide,
)
from paring.targets.litert.check import problems
from paring.targets.traced import samples

SCHEMA = 1  # of the metadata in the file


def export(model: Model, path: Path, options: ExportOptions = FLOAT_ENDS) -> Path:
    """Writes `model` to `path`, batch size one. Same model, same bytes.

    Raises:
        ParingError: LiteRT cannot hold the model, `io: int8` for a float model, the converter failed, what was
            quantized came out float, zeros were lost, its answers are not the model's, or the disk is full. Nothing is
            written then.
    """
    if options.io == "int8" and not model.quantized:
        raise ParingError(
            "int8 inputs and outputs need a quantized model", "export to litert", "add quantize.static, or io: float32"
        )
    if shared := [one.layer for one in model.invariants if one.kind == "codes" and one.value.get("table")]:
        raise ParingError(
            f"{len(shared)} layers have tables of weights, which LiteRT has not ({', '.join(shared[:3])}, …)",
            "export to litert",
            "export to coreml, or quantize.weights in the place of quantize.palette",
        )
    source = _rewritten(model)
    module = wide.parted(source)
    file = flatbuffer.read(_convert(model, module, options))
    transposed.mend(file, [one.value for one in model.invariants if one.kind == "scale"])
    pads.fuse(file)
    means.unturn(file)
    if module is not source:  # else what looks like a mark is the network's own
        wide.joined(file)
    wide.widen(file)
    _store(model, file)
    codes.narrow(file, _of_four_bits(model))
    content = flatbuffer.finish(
        file,
        [spec.name for spec in model.inputs],
        [spec.name for spec in model.outputs],
        {
            "schema": SCHEMA,
            "layout": options.layout,
            "inputs": [spec.as_json() for spec in model.inputs],
            "outputs": [spec.as_json() for spec in model.outputs],
        },
        float_ends=model.quantized and options.io == "float32",
    )
    if wide.used(file):
        wide.require(content)
    stored = list(contents.constants(content))
    integers = (tensor.scales for tensor in stored if tensor.dtype in ("int8", "int4"))
    scales.require(model, integers, "export to litert")
    zeros.require(model, stored, "export to litert")
    with atomic.write(path) as temporary:
        temporary.write_bytes(content)
        parity.require(LiteRT(), model, temporary, options)
    return path


def _convert(model: Model, module: nn.Module, options: ExportOptions) -> bytes:
    images = [i for i, spec in enumerate(model.inputs) if spec.layout == "NCHW"]
    inputs = list(samples(model.inputs))
    if options.layout == "NHWC" and images:
        with quiet():
            import litert_torch
        module = litert_torch.to_channel_last_io(module, args=images)
        module.training = False
        for i in images:
            inputs[i] = inputs[i].permute(0, 2, 3, 1).contiguous()
    with quiet() as said:
        try:
            return converter.convert(module, tuple(inputs), quantized=model.quantized)
        except Exception as error:  # the converter raises many kinds, MLIR's among them
            raise _refused(model, error, said()) from error


def _rewritten(model: Model) -> nn.Module:
    try:
        return rewrite.rewritten(model)
    except Exception as error:  # torch.export raises many kinds
        raise _refused(model, error, "") from error


def _refused(model: Model, error: Exception, said: str) -> ParingError:
    found = problems(model)
    if found:
        return ParingError("; ".join(str(problem) for problem in found), "export to litert", found[0].remedy)
    reason = (str(error).strip() or said).splitlines()
    return ParingError(
        f"litert-torch could not convert the model: {reason[0] if reason else type(error).__name__}",
        "export to litert",
        "replace the layer that the message names; `paring check` lists operators without a lowering",
    )


def _of_four_bits(model: Model) -> set[tuple[float, ...]]:
    """The rounded scales of weights of four bits in a quantized graph; small codes of eight bits stay what they are."""
    module, found = model.module, set()
    for node in module.graph.nodes if isinstance(module, GraphModule) else ():
        if "dequantize_per" in str(node.target) and node.args[-2] == LARGEST["int4"]:
            scale: Any = node.args[1]
            held = attrgetter(str(scale.target))(module).tolist() if isinstance(scale, Node) else [scale]
            found.add(scales.rounded(held))
    return found


def _store(model: Model, file: Any) -> None:
    """Weights of few bits take the place of float ones; every one of them, or the file is not written."""
    layers = [
        codes.Layer(one.layer, weight.detach().numpy(), Codes.from_json(one.value))
        for one in model.invariants
        if one.kind == "codes"
        for weight in [model.module.get_submodule(one.layer).get_parameter("weight")]
    ]
    lost = codes.store(file, layers)
    if lost:
        raise ParingError(
            f"{len(lost)} layers came out in float ({', '.join(lost[:3])}, …)",
            "export to litert",
            "keep these layers in float (keep_float), and report the model that shows it",
        )
