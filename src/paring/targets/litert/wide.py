"""Activations of sixteen bits, and scales that are to stay apart: what the converter does not know of them.

Products of int8 weights and int16 activations are summed in 64 bits, and the bias with them, as the kernels want
(LiteRT's quantization specification); the converter writes biases of 32 bits. And where one layer gives int8 and the
next one takes int16 it fuses both into an operator that there is none of, unless something lies between.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from ai_edge_litert import schema_py_generated as schema
from torch import nn
from torch.ao.quantization.fx import _decomposed  # noqa: F401  # registers quantized_decomposed
from torch.fx import Graph, GraphModule, Node

from paring.core.errors import ParingError
from paring.core.quiet import quiet
from paring.targets.litert import flatbuffer
from paring.targets.litert.graph import before, sweep

_Operator, _Type = schema.BuiltinOperator, schema.TensorType
# operator -> places of its activations and of its bias among its inputs
_SUMS = {
    _Operator.CONV_2D: (0, 2),
    _Operator.DEPTHWISE_CONV_2D: (0, 2),
    _Operator.FULLY_CONNECTED: (0, 2),
    _Operator.TRANSPOSE_CONV: (2, 3),
}
_aten = torch.ops.aten
_QUANTIZE = torch.ops.quantized_decomposed.quantize_per_tensor.default
_DEQUANTIZE = torch.ops.quantized_decomposed.dequantize_per_tensor.default
_MARK = torch.ops.aten.cos.default  # which the converter leaves in float, and alone
# what there are kernels for; of the others the converter makes operators that no runtime has
_KERNELS = {
    _aten.adaptive_avg_pool2d.default, _aten.add.Tensor, _aten.add_.Tensor, _aten.avg_pool2d.default,
    _aten.clone.default, _aten.constant_pad_nd.default, _aten.contiguous.default, _aten.conv1d.default,
    _aten.conv2d.default, _aten.conv2d.padding, _aten.dropout.default, _aten.flatten.using_ints,
    _aten.hardtanh.default, _aten.hardtanh_.default, _aten.leaky_relu.default, _aten.linear.default,
    _aten.max_pool2d.default, _aten.mean.dim, _aten.mul.Tensor, _aten.mul_.Tensor, _aten.pad.default,
    _aten.permute.default, _aten.relu.default, _aten.relu6.default, _aten.relu_.default, _aten.reshape.default,
    _aten.select.int, _aten.sigmoid.default, _aten.slice.Tensor, _aten.squeeze.dim, _aten.squeeze.dims,
    _aten.sub.Tensor, _aten.tanh.default, _aten.transpose.int, _aten.unsqueeze.default,
    _aten.upsample_nearest2d.vec, _aten.view.default,
}  # fmt: skip


def parted(module: nn.Module) -> nn.Module:
    """The network with marks in it, which `joined` takes out of the file again.

    A mark parts codes of one scale from codes of another, and codes from what has no kernel for int16, or joins in
    float.

    Args:
        module: quantized, or not a graph; it is not changed, and its tensors are shared.

    Raises:
        ParingError: the network computes what the marks are made of.
    """
    edges = list(_apart(module)) if isinstance(module, GraphModule) else []
    if not edges or not isinstance(module, GraphModule):
        return module
    if any(node.target is _MARK for node in module.graph.nodes):
        raise ParingError(
            "int16 activations in a network with a cosine cannot be told from paring's marks", "export to litert",
            "take int8 activations",
        )  # fmt: skip
    graph = Graph()
    copied: dict[Node, Any] = {}
    graph.output(graph.graph_copy(module.graph, copied))
    for source, reader in edges:
        with graph.inserting_before(copied[reader]):
            copied[reader].replace_input_with(copied[source], graph.call_function(_MARK, (copied[source],)))
    return GraphModule(module, graph)


def _apart(module: GraphModule) -> Iterator[tuple[Node, Node]]:
    """Pairs of a node and of one that reads it, with a mark to go between them."""
    for node in module.graph.nodes:
        if _joins_apart(node):
            yield from ((one, node) for one in node.all_input_nodes if one.target is _DEQUANTIZE)
            continue
        for source in node.all_input_nodes:
            if not (_wide(source) or _wide(node)):
                continue
            decodes, encodes = source.target is _DEQUANTIZE, node.target is _QUANTIZE
            if decodes and encodes:
                if source.args[1:] != node.args[1:]:
                    yield source, node
            elif (decodes and _lacks(node)) or (encodes and _lacks(source)):
                yield source, node


def _joins_apart(node: Node) -> bool:
    """Whether a join in float has codes of several scales before it, all of which the converter gives the first one."""
    if node.target not in (_aten.cat.default, _aten.maximum.default, _aten.minimum.default):
        return False
    scales = {one.args[1:3] if one.target is _DEQUANTIZE else None for one in node.all_input_nodes}
    return len(scales) > 1


def _wide(node: Node) -> bool:
    """Whether it turns floats into int16, or back."""
    return node.target in (_QUANTIZE, _DEQUANTIZE) and node.args[5] == torch.int16


def _lacks(node: Node) -> bool:
    return node.op == "call_function" and node.target not in _KERNELS


def joined(model: Any) -> None:
    """Takes out the marks of `parted`, in place: codes of one scale become those of another in one QUANTIZE."""
    graph = model.subgraphs[0]
    for mark in [one for one in graph.operators if flatbuffer.builtin(model, one) == _Operator.COS]:
        source, result = int(mark.inputs[0]), int(mark.outputs[0])
        for reader in graph.operators:
            reader.inputs = [source if int(i) == result else int(i) for i in reader.inputs]
        graph.operators = [one for one in graph.operators if one is not mark]
    for quantize in [one for one in graph.operators if flatbuffer.builtin(model, one) == _Operator.QUANTIZE]:
        codes = before(model, graph, int(quantize.inputs[0]), _Operator.DEQUANTIZE)
        if codes is not None:
            quantize.inputs = [int(codes.inputs[0])]
    sweep(model, graph)


def used(model: Any) -> bool:
    """Whether a file has a tensor of sixteen bits."""
    return any(tensor.type == _Type.INT16 for tensor in model.subgraphs[0].tensors)


def widen(model: Any) -> None:
    """Gives the operators on int16 activations biases of 64 bits, in place."""
    graph = model.subgraphs[0]
    for operator in graph.operators:
        data, bias = _SUMS.get(flatbuffer.builtin(model, operator), (0, 0))
        if not bias or len(operator.inputs) <= bias or operator.inputs[bias] < 0:
            continue
        tensor = graph.tensors[operator.inputs[bias]]
        if graph.tensors[operator.inputs[data]].type == _Type.INT16 and tensor.type == _Type.INT32:
            buffer = schema.BufferT()  # of its own: another operator may read the same numbers as 32 bits
            stored = np.asarray(model.buffers[tensor.buffer].data, np.uint8).view(np.int32)
            buffer.data = stored.astype(np.int64).view(np.uint8)
            tensor.type, tensor.buffer = _Type.INT64, len(model.buffers)
            model.buffers.append(buffer)


def require(content: bytes) -> None:
    """Raises ParingError if LiteRT lacks a kernel for sixteen bits that the file wants; only running it tells."""
    from ai_edge_litert.interpreter import Interpreter

    try:
        with quiet():
            interpreter = Interpreter(model_content=content)
            interpreter.allocate_tensors()
            interpreter.invoke()
    except (ValueError, RuntimeError) as error:
        raise ParingError(
            f"LiteRT has no kernel for int16 activations of it: {str(error).splitlines()[0]}",
            "export to litert",
            "give the layer that the message names int8 activations (layers), or keep it in float",
        ) from error
