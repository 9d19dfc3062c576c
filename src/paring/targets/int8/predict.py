"""The operators that a float model will have as a full-int8 `.tflite`: from its trace, before anything is quantized.

The table says of each PyTorch operator what LiteRT's converter makes of it, and whether the steps that quantize make
integers of it (the rules are in `paring.steps.quantize.annotate`). Values between integers and floats are converted:
a DEQUANTIZE for each tensor of integers that something reads as floats, a QUANTIZE the other way round.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch.fx import Node

from paring.core.model import Model
from paring.targets.int8.operators import Operator, Pair
from paring.targets.traced import layer_of, trace

COMPUTES, MOVES, FLOATS = "computes on integers", "moves what it is given", "computes in float"
# PyTorch operator -> what becomes of it, and of how it is computed
LOWERED: dict[str, tuple[tuple[str, ...], str]] = {
    "conv1d": (("CONV_2D",), COMPUTES),
    "conv2d": (("CONV_2D",), COMPUTES),
    "conv_transpose1d": (("TRANSPOSE_CONV",), COMPUTES),
    "conv_transpose2d": (("TRANSPOSE_CONV",), COMPUTES),
    "linear": (("FULLY_CONNECTED",), COMPUTES),
    "relu": (("RELU",), COMPUTES),
    "relu_": (("RELU",), COMPUTES),
    "relu6": (("RELU6",), COMPUTES),
    "hardtanh": (("RELU6",), COMPUTES),
    "hardtanh_": (("RELU6",), COMPUTES),
    "add": (("ADD",), COMPUTES),
    "add_": (("ADD",), COMPUTES),
    "sub": (("SUB",), COMPUTES),
    "mul": (("MUL",), COMPUTES),
    "mul_": (("MUL",), COMPUTES),
    "mean": (("MEAN",), COMPUTES),
    "adaptive_avg_pool2d": (("MEAN",), COMPUTES),
    "hardswish": (("HARD_SWISH",), COMPUTES),
    "hardswish_": (("HARD_SWISH",), COMPUTES),
    "leaky_relu": (("LEAKY_RELU",), COMPUTES),
    "leaky_relu_": (("LEAKY_RELU",), COMPUTES),
    "gelu": (("GELU",), COMPUTES),
    "silu": (("LOGISTIC", "MUL"), COMPUTES),
    "silu_": (("LOGISTIC", "MUL"), COMPUTES),
    "glu": (("LOGISTIC", "MUL"), COMPUTES),
    "hardsigmoid": (("ADD", "MUL"), COMPUTES),
    "hardsigmoid_": (("ADD", "MUL"), COMPUTES),
    "prelu": (("RELU", "MINIMUM", "MUL", "ADD"), COMPUTES),
    "abs": (("ABS",), COMPUTES),
    "exp": (("EXP",), COMPUTES),
    "maximum": (("MAXIMUM",), COMPUTES),
    "minimum": (("MINIMUM",), COMPUTES),
    "div": (("MUL",), COMPUTES),
    "neg": (("MUL",), COMPUTES),
    "pow": (("MUL",), COMPUTES),
    "sigmoid": (("LOGISTIC",), COMPUTES),
    "tanh": (("TANH",), COMPUTES),
    "softmax": (("SOFTMAX",), COMPUTES),
    "_softmax": (("SOFTMAX",), COMPUTES),
    "cat": (("CONCATENATION",), COMPUTES),
    "max_pool2d": (("MAX_POOL_2D",), MOVES),
    "avg_pool2d": (("AVERAGE_POOL_2D",), MOVES),
    "pad": (("PAD",), MOVES),
    "constant_pad_nd": (("PAD",), MOVES),
    "slice": (("STRIDED_SLICE",), MOVES),
    "select": (("STRIDED_SLICE",), MOVES),
    "permute": (("TRANSPOSE",), MOVES),
    "transpose": (("TRANSPOSE",), MOVES),
    "view": (("RESHAPE",), MOVES),
    "reshape": (("RESHAPE",), MOVES),
    "flatten": (("RESHAPE",), MOVES),
    "squeeze": (("RESHAPE",), MOVES),
    "unsqueeze": (("RESHAPE",), MOVES),
    "upsample_nearest2d": (("RESIZE_NEAREST_NEIGHBOR",), MOVES),
    "upsample_bilinear2d": (("RESIZE_BILINEAR",), MOVES),
    "repeat": (("CONCATENATION",), MOVES),
    "flip": (("REVERSE_V2",), MOVES),
    "amax": (("REDUCE_MAX",), MOVES),
    "amin": (("REDUCE_MIN",), MOVES),
    "clamp": (("MAXIMUM", "MINIMUM"), MOVES),
    "clamp_min": (("MAXIMUM",), MOVES),
    "clamp_max": (("MINIMUM",), MOVES),
    "pixel_shuffle": (("RESHAPE", "TRANSPOSE", "RESHAPE"), MOVES),
    "pixel_unshuffle": (("RESHAPE", "TRANSPOSE", "RESHAPE"), MOVES),
    "channel_shuffle": (("RESHAPE", "TRANSPOSE", "RESHAPE"), MOVES),
    "max_pool1d": (("MAX_POOL_2D",), MOVES),
    "avg_pool1d": (("AVERAGE_POOL_2D",), MOVES),
    "adaptive_max_pool2d": (("REDUCE_MAX",), MOVES),
    "contiguous": ((), MOVES),
    "clone": ((), MOVES),
    "dropout": ((), MOVES),
    "alias": ((), MOVES),
    "detach": ((), MOVES),
    "elu": (("ELU",), FLOATS),
    "sin": (("SIN",), FLOATS),
    "sqrt": (("SQRT",), FLOATS),
    "rsqrt": (("RSQRT",), FLOATS),
    "matmul": (("BATCH_MATMUL",), FLOATS),
    "batch_norm": (("MUL", "ADD"), FLOATS),
}
_WEIGHTED = {"conv1d", "conv2d", "conv_transpose2d", "linear"}
_FUSED = {"relu", "relu_", "relu6", "hardtanh", "hardtanh_"}
_FUSING = _WEIGHTED | {"add", "add_"}
_WINDOWS = {"conv1d", "conv2d", "conv_transpose2d", "max_pool2d", "avg_pool2d"}
_RESHAPING = {"view", "reshape", "flatten"}


def predicted(model: Model) -> tuple[Operator, ...]:
    """The operators that `model` will have, in the order that they run in.

    An operator that the table lacks is expected to compute in float, under a name of its own: `layer_norm`.
    """
    program = trace(model)
    inputs = set(program.graph_signature.user_inputs)
    return tuple(_Walk({one: True for one in program.graph.nodes if one.name in inputs}).over(program.graph.nodes))


@dataclass
class _Walk:
    """What is known so far.

    Attributes:
        integers: whether a computed tensor, or an input, holds integers.
        converted: tensors that were converted to the other kind already.
        vanished: what the layer before computes besides.
    """

    integers: dict[Node, bool]
    converted: set[Node] = field(default_factory=set)
    vanished: set[Node] = field(default_factory=set)

    def over(self, nodes: Any) -> Iterator[Operator]:
        for node in nodes:
            if node.op == "call_function" and _is_float(node):
                yield from self._of(node)

    def _of(self, node: Node) -> Iterator[Operator]:
        name = _name(node)
        given = [one for one in node.all_input_nodes if _is_float(one) and one in self.integers]
        names, how = LOWERED.get(name, ((name,), FLOATS))
        moved = bool(given) and self.integers[given[0]]
        if node in self.vanished or not names:
            self.integers[node] = moved
            return
        integers = how == COMPUTES or (how == MOVES and (moved or self._for_integers(node, names)))
        for one in given:
            if self.integers[one] != integers and one not in self.converted:
                self.converted.add(one)
                shape = _shape(one)
                way = "QUANTIZE" if integers else "DEQUANTIZE"
                yield Operator(way, layer_of(node.meta), "float32", shape, shape, source=str(node.target))
        self.integers[node] = integers
        self._fuse(node, name)
        for operator in _operators(node, name, names):
            yield replace(operator, dtype="int8" if integers else "float32")

    def _for_integers(self, node: Node, names: tuple[str, ...]) -> bool:
        """Whether floats are turned or reshaped for integers alone: they are quantized before."""
        if not set(names) <= {"TRANSPOSE", "RESHAPE"} or not node.users:
            return False
        after = [LOWERED.get(_name(user), ((), FLOATS)) for user in node.users]
        users = zip(node.users, after, strict=True)
        return all(how == COMPUTES or (how == MOVES and self._for_integers(user, into)) for user, (into, how) in users)

    def _fuse(self, node: Node, name: str) -> None:
        """Batch norms and activations that the layer before computes besides."""
        last = node
        if name in _WEIGHTED and _next(last, {"batch_norm"}):
            last = next(iter(last.users))
            self.vanished.add(last)
        if name in _FUSING and _next(last, _FUSED):
            self.vanished.add(next(iter(last.users)))


def _operators(node: Node, name: str, names: tuple[str, ...]) -> Iterator[Operator]:
    """What the table says of one, with its sizes, and the operators that the converter adds."""
    sources = [one for one in node.all_input_nodes if _is_float(one)]
    image, output = _shape(sources[0]) if sources else (), _shape(node)
    where, source = layer_of(node.meta), str(node.target)
    base = Operator("", where, image=image, output=output, source=source)
    if name in _RESHAPING and len(image) == 4 and len(output) != 4:
        if image[1:3] == (1, 1):  # the operator before gives that shape at once
            return
        turned = (image[0], image[3], *image[1:3])
        yield replace(base, name="TRANSPOSE", output=turned)
        base = replace(base, image=turned)
    if name in _WINDOWS and name != "conv_transpose2d":
        sizes, (above, left) = _window(node, name, image)
        if above or left:
            height, width = image[1] + 2 * above, image[2] + 2 * left
            padded = (image[0], height, width, image[3])
            yield replace(base, name="PADV2" if name == "max_pool2d" else "PAD", output=padded)
            base = replace(base, image=padded)
        base = replace(base, **sizes)
    elif name == "conv_transpose2d":
        weight = node.all_input_nodes[1].meta["val"].shape
        base = replace(base, kernel=tuple(weight[2:]), stride=_pair(_argument(node, "stride"), 1))
    if name in {"mean", "adaptive_avg_pool2d"}:
        base = replace(base, axes=_axes(node, name, len(image)))
    for one in names:
        depthwise = one == "CONV_2D" and 1 < int(_argument(node, "groups") or 1) == image[-1]
        # a single channel makes any convolution a depthwise one
        single = one == "CONV_2D" and image[-1] == 1 and name == "conv2d"
        yield replace(base, name="DEPTHWISE_CONV_2D" if depthwise or single else one)


def _window(node: Node, name: str, image: tuple[int, ...]) -> tuple[dict[str, Any], Pair]:
    """Sizes of a window, and what an operator of its own pads above and to the left for it, and opposite."""
    if name.startswith("conv"):
        kernel = _pair(tuple(node.all_input_nodes[1].meta["val"].shape[2:]), 1)
    else:
        kernel = _pair(_argument(node, "kernel_size"), 1)
    stride, dilation = _pair(_argument(node, "stride") or kernel, 1), _pair(_argument(node, "dilation"), 1)
    sizes: dict[str, Any] = {"kernel": kernel, "stride": stride, "dilation": dilation}
    given = _argument(node, "padding")
    if isinstance(given, str):
        return {**sizes, "padding": given.upper()}, (0, 0)
    amount = _pair(given, 0)
    if len(image) != 4 or amount == (0, 0):
        return {**sizes, "padding": "VALID"}, (0, 0)
    if all((amount[i], amount[i]) == _same(image[1 + i], kernel[i], stride[i], dilation[i]) for i in range(2)):
        return {**sizes, "padding": "SAME"}, (0, 0)
    return {**sizes, "padding": "VALID"}, amount


def _same(size: int, extent: int, step: int, spread: int) -> Pair:
    """What TensorFlow's `SAME` adds before and behind."""
    more = max((-(-size // step) - 1) * step + (extent - 1) * spread + 1 - size, 0)
    return more // 2, more - more // 2


def _axes(node: Node, name: str, rank: int) -> tuple[int, ...]:
    """The axes that a mean reduces, channels last."""
    if name == "adaptive_avg_pool2d":
        return (1, 2)
    given = _argument(node, "dim")
    axes = [int(one) % rank for one in (given if isinstance(given, (list, tuple)) else range(rank))]
    return tuple(sorted({0: 0, 1: 3, 2: 1, 3: 2}[axis] for axis in axes) if rank == 4 else axes)


def _argument(node: Node, name: str) -> Any:
    """An operator's argument, by its name; its default where it is left out, None where there is none."""
    schema = getattr(node.target, "_schema", None)
    for position, one in enumerate(schema.arguments if schema is not None else ()):
        if one.name == name:
            if position < len(node.args):
                return node.args[position]
            return node.kwargs.get(name, one.default_value)
    return None


def _pair(given: Any, missing: int) -> Pair:
    """Of height and width; of one number both, of the length of a sequence alone the width."""
    values = [int(one) for one in given] if isinstance(given, (list, tuple)) else [int(given or missing)] * 2
    return (missing, values[0]) if len(values) == 1 else (values[0], values[1]) if values else (missing, missing)


def _shape(node: Node) -> tuple[int, ...]:
    """Of one sample, channels last."""
    found = tuple(int(size) for size in node.meta["val"].shape)
    return (found[0], found[2], found[3], found[1]) if len(found) == 4 else found


def _name(node: Node) -> str:
    return getattr(node.target, "_opname", str(node.target).partition(".")[2].partition(".")[0])


def _next(node: Node, names: set[str]) -> bool:
    return len(node.users) == 1 and _name(next(iter(node.users))) in names


def _is_float(node: Node) -> bool:
    value = node.meta.get("val")
    return isinstance(value, torch.Tensor) and value.is_floating_point()
