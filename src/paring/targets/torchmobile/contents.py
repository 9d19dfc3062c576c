"""What a `.ptl` holds, read from the graph in it."""

from collections import Counter
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import torch

from paring.core.errors import ParingError
from paring.core.quiet import quiet
from paring.core.target import Contents, FileTensor
from paring.targets.torchmobile.engine import engine
from paring.targets.torchmobile.script import jit, native
from paring.targets.zeros import share

_UNPACK: dict[str, Any] = {
    "Conv2dPackedParamsBase": torch.ops.quantized.conv2d_unpack,
    "LinearPackedParamsBase": torch.ops.quantized.linear_unpack,
}
_TO_CODES = {"aten::quantize_per_tensor", "aten::_make_per_tensor_quantized_tensor"}
_TO_FLOATS = {"aten::dequantize", "aten::int_repr"}
_DYNAMIC = "quantized::linear_dynamic"  # floats in, floats out, integers between
# what gives values another shape, order or type and computes nothing
_MOVES = {
    "cat", "chunk", "clone", "constant_pad_nd", "contiguous", "detach", "dropout", "embedding", "expand", "flatten",
    "Int", "movedim", "pad", "permute", "reshape", "select", "size", "slice", "split", "split_with_sizes", "squeeze",
    "stack", "t", "to", "transpose", "type_as", "unbind", "unflatten", "unsqueeze", "view",
}  # fmt: skip


def contents(artifact: Path) -> Contents:
    """Operators and stored tensors of a file.

    Raises:
        ParingError: no such file, or none of the lite interpreter's with its source code, as paring writes them.
    """
    try:
        return contents_of(artifact.read_bytes())
    except (OSError, RuntimeError) as error:
        raise ParingError("cannot be read as a .ptl file", str(artifact), "name a file that paring wrote") from error


def contents_of(content: bytes) -> Contents:
    """The same of a file's content. Raises RuntimeError where PyTorch cannot read it."""
    with quiet(), engine():
        graph = jit.load(BytesIO(content)).forward.graph
        native._jit_pass_inline(graph)
        nodes = list(_nodes(graph))
        tensors = tuple(_tensors(nodes))
    called = [node for node in nodes if not node.kind().startswith("prim::")]
    quantized, in_float = _numbers(called)
    return Contents(dict(Counter(node.kind() for node in called)), tensors, dict(quantized), tuple(in_float))


def _nodes(block: Any) -> Iterator[Any]:
    """In the order of the code, those inside branches and loops, too."""
    for node in block.nodes():
        yield node
        for inner in node.blocks():
            yield from _nodes(inner)


def _numbers(called: list[Any]) -> tuple[Counter[str], list[tuple[str, str]]]:
    """How often each operator computes on codes, and (operator, output) of each that computes on floats."""
    quantized, in_float, codes = Counter[str](), list[tuple[str, str]](), set[str]()
    for node in called:
        kind, outputs = node.kind(), [value.debugName() for value in node.outputs()]
        fed = any(name in codes for name in _names(node))
        if (
            kind in _TO_CODES
            or (fed and kind not in _TO_FLOATS)
            or (kind.startswith("quantized::") and kind != _DYNAMIC)
        ):
            codes.update(outputs)
        if kind in _TO_CODES | _TO_FLOATS or (kind.startswith("aten::") and kind.removeprefix("aten::") in _MOVES):
            continue
        if fed or kind.startswith("quantized::"):
            quantized[kind] += 1
        else:
            name = outputs[0].partition(".")[0]  # a value that is used once, where it is computed, has a number alone
            in_float.append((kind, kind.partition("::")[2] if name.isdecimal() else name))
    return quantized, in_float


def _names(node: Any) -> Iterator[str]:
    """The values that a node reads, those of a list one by one."""
    for value in node.inputs():
        yield value.debugName()
        if value.node().kind() == "prim::ListConstruct":
            yield from (part.debugName() for part in value.node().inputs())


def _tensors(nodes: list[Any]) -> Iterator[FileTensor]:
    """Constants, and weights that are packed into objects."""
    for node in nodes:
        if node.kind() != "prim::Constant":
            continue
        name = node.output().debugName()
        value: Any = node.output().toIValue()
        if isinstance(value, torch.Tensor):
            yield _tensor(name, value)
        elif isinstance(value, torch.ScriptObject):
            kind: Any = value._type()
            unpack = _UNPACK.get(kind.name())
            if unpack is not None:
                weight, bias = unpack(value)
                yield _tensor(name, weight)
                if bias is not None:
                    yield _tensor(f"{name}.bias", bias)


def _tensor(name: str, value: torch.Tensor) -> FileTensor:
    shape, size = tuple(value.shape), value.numel() * value.element_size()
    if not value.is_quantized:
        return FileTensor(
            name, str(value.dtype).removeprefix("torch."), shape, size, zeros=share(value.detach().numpy())
        )
    stored = value.int_repr().numpy()
    if value.qscheme() == torch.per_tensor_affine:
        scales, points, axis = (value.q_scale(),), (value.q_zero_point(),), 0
    else:
        scales = tuple(value.q_per_channel_scales().tolist())
        points = tuple(value.q_per_channel_zero_points().tolist())
        axis = value.q_per_channel_axis()
    return FileTensor(name, stored.dtype.name, shape, size, scales, points, share(stored, points, axis))
