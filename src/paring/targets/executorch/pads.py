"""Padding that XNNPACK's convolutions do themselves: ExecuTorch leaves it as an operator of its own, and in float.

XNNPACK's convolutions pad each side by its own amount, with the code that stands for zero; PyTorch's only know the same
amount on both sides, so that what comes from TensorFlow (`SAME` with a stride) has a pad before the convolution. Both
become one where ExecuTorch has built XNNPACK's graph and not yet written it down.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from paring.core.quiet import quiet

with quiet():
    from executorch.backends.xnnpack import xnnpack_preprocess
    from executorch.backends.xnnpack.serialization.xnnpack_graph_schema import (
        XNNConv2d,
        XNNConvert,
        XNNDepthwiseConv2d,
        XNNGraph,
        XNNStaticConstantPad,
        XNNStaticTranspose,
    )


@contextmanager
def fused() -> Iterator[None]:
    """Within it, every graph that is handed to XNNPACK is written with its pads inside its convolutions."""
    write = xnnpack_preprocess.serialize_xnnpack_binary

    def written(graph: XNNGraph, constants: bytearray) -> bytes:
        fuse(graph)
        found: bytes = write(graph, constants)
        return found

    with mock.patch.object(xnnpack_preprocess, "serialize_xnnpack_binary", written):
        yield


def fuse(graph: XNNGraph) -> None:
    """Lets convolutions pad what they read, in place; pads with anything but zeros stay, and of channels.

    Between the two there may be transpositions, and conversions: quantized values are turned to floats, padded, and
    turned back. Zero has a code in every scale, so that padding may as well come behind; where the scale is then the
    same before and behind, so are the codes.
    """
    for node in graph.xnodes:
        convolution = node.xnode_union
        if isinstance(convolution, XNNConv2d | XNNDepthwiseConv2d):
            _take(graph, convolution)
    _sweep(graph)


def _take(graph: XNNGraph, convolution: Any) -> None:
    passed: list[Any] = []  # from the convolution back to the pad
    axes, tensor = [0, 1, 2, 3], convolution.input1_id  # XNNPACK's images lie NHWC
    while (pad := _maker(graph, tensor)) and isinstance(pad, XNNConvert | XNNStaticTranspose):
        if _readers(graph, tensor) > 1:
            return
        passed.append(pad)
        axes = [pad.perm[axis] for axis in axes] if isinstance(pad, XNNStaticTranspose) else axes
        tensor = pad.input_id
    if not isinstance(pad, XNNStaticConstantPad) or pad.padding_value or len(pad.pre_paddings) != 4:
        return
    (_, top, left, first), (_, bottom, right, last) = (
        [sides[axis] for axis in axes] for sides in (pad.pre_paddings, pad.post_paddings)
    )
    if first or last:
        return
    convolution.padding_top += top
    convolution.padding_left += left
    convolution.padding_bottom += bottom
    convolution.padding_right += right
    source = pad.input_id
    for node in reversed(passed):
        node.input_id = source
        dims = _tensor(graph, source).dims
        turned = [dims[axis] for axis in node.perm] if isinstance(node, XNNStaticTranspose) else list(dims)
        source, before = node.output_id, _maker(graph, source)
        _tensor(graph, source).dims = turned
        if isinstance(node, XNNConvert) and isinstance(before, XNNConvert):
            codes = before.input_id
            source = codes if _value(graph, codes) == _value(graph, source) else source
    convolution.input1_id = source


def _sweep(graph: XNNGraph) -> None:
    """Takes out the pads, conversions and transpositions that nobody reads any more."""
    while True:
        unread = [
            node.xnode_union.output_id
            for node in graph.xnodes
            if isinstance(node.xnode_union, XNNConvert | XNNStaticConstantPad | XNNStaticTranspose)
            and node.xnode_union.output_id not in graph.output_ids
            and not _readers(graph, node.xnode_union.output_id)
        ]
        if not unread:
            return
        graph.xnodes[:] = [node for node in graph.xnodes if getattr(node.xnode_union, "output_id", None) not in unread]
        graph.xvalues[:] = [value for value in graph.xvalues if _plain(value).id_out not in unread]


def _maker(graph: XNNGraph, tensor: int) -> Any:
    """The node that computes a tensor; None for an input."""
    found = (node.xnode_union for node in graph.xnodes)
    return next((one for one in found if getattr(one, "output_id", None) == tensor), None)


def _readers(graph: XNNGraph, tensor: int) -> int:
    return sum(
        number == tensor
        for node in graph.xnodes
        for name, number in vars(node.xnode_union).items()
        if name.endswith("_id") and not name.startswith("output")
    )


def _tensor(graph: XNNGraph, tensor: int) -> Any:
    return next(found for value in graph.xvalues if (found := _plain(value)).id_out == tensor)


def _value(graph: XNNGraph, tensor: int) -> tuple[Any, Any]:
    """What a tensor's numbers mean: type and scale."""
    value = next(value.xvalue_union for value in graph.xvalues if _plain(value).id_out == tensor)
    return getattr(value, "tensor_value", value).datatype, getattr(value, "quant_params", None)


def _plain(value: Any) -> Any:
    return getattr(value.xvalue_union, "tensor_value", value.xvalue_union)
