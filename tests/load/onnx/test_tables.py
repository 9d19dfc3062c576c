"""Every operator, in random configurations: `open` proves what it loads against ONNX Runtime, so to open is to pass."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from paring import load
from paring.core.model import Model
from paring.load.onnx import tables

quick = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
chance = np.random.default_rng(0)
batches = st.sampled_from(["batch", 1])


def floats(*shape: int) -> np.ndarray:
    return chance.normal(size=shape).astype(np.float32)


def opened(write: Any, nodes: Any, x: Any, outputs: Any = ("y",), weights: Any = None, opset: int = 18) -> Model:
    inputs = x if isinstance(x, dict) else {"x": (x, "float32")}
    return load.open(f"onnx:{write(nodes, inputs, outputs, weights, opset)}")


def kinds(model: Model) -> list[str]:
    return [type(module).__name__ for module in model.module.children()]


@st.composite
def windows(draw: st.DrawFn, rank: int) -> dict[str, Any]:
    """Attributes that convolutions and poolings share, without the kernel's size."""
    found: dict[str, Any] = {"strides": draw(st.lists(st.integers(1, 3), min_size=rank, max_size=rank))}
    how = draw(st.sampled_from(["none", "pads", "SAME_UPPER", "SAME_LOWER", "VALID"]))
    if how == "pads":
        found["pads"] = draw(st.lists(st.integers(0, 2), min_size=2 * rank, max_size=2 * rank))
    elif how != "none":
        found["auto_pad"] = how
    return found


@quick
@given(data=st.data(), rank=st.integers(1, 3), groups=st.sampled_from([1, 2]), bias=st.booleans(), batch=batches)
def test_conv(write: Any, data: st.DataObject, rank: int, groups: int, bias: bool, batch: Any) -> None:
    attributes = data.draw(windows(rank))
    kernel = data.draw(st.lists(st.integers(1, 3), min_size=rank, max_size=rank))
    if "auto_pad" not in attributes:
        attributes["dilations"] = data.draw(st.lists(st.integers(1, 2), min_size=rank, max_size=rank))
    sizes = data.draw(st.lists(st.integers(6, 9), min_size=rank, max_size=rank))
    weights = {"w": floats(4, 4 // groups, *kernel), "b": floats(4)}
    names = ["x", "w", *(["b"] if bias else [])]
    model = opened(
        write, [("Conv", names, ["y"], {**attributes, "group": groups})], (batch, 4, *sizes), weights=weights
    )
    assert kinds(model) == [f"Conv{rank}d"]


@quick
@given(data=st.data(), rank=st.integers(1, 2), groups=st.sampled_from([1, 2]), batch=batches)
def test_conv_transpose(write: Any, data: st.DataObject, rank: int, groups: int, batch: Any) -> None:
    attributes = data.draw(windows(rank))
    kernel = data.draw(st.lists(st.integers(2, 4), min_size=rank, max_size=rank))
    strides = attributes["strides"]
    if "auto_pad" not in attributes:
        extra = [data.draw(st.integers(0, stride - 1)) for stride in strides]
        attributes["output_padding"] = extra
    else:
        assume(all(k >= s for k, s in zip(kernel, strides, strict=True)))
    sizes = data.draw(st.lists(st.integers(5, 7), min_size=rank, max_size=rank))
    weights = {"w": floats(4, 2, *kernel), "b": floats(2 * groups)}
    nodes = [("ConvTranspose", ["x", "w", "b"], ["y"], {**attributes, "group": groups})]
    assert kinds(opened(write, nodes, (batch, 4, *sizes), weights=weights)) == [f"ConvTranspose{rank}d"]


@quick
@given(data=st.data(), rank=st.integers(1, 3), kind=st.sampled_from(["MaxPool", "AveragePool"]), batch=batches)
def test_pool(write: Any, data: st.DataObject, rank: int, kind: str, batch: Any) -> None:
    attributes = data.draw(windows(rank))
    kernel = data.draw(st.lists(st.integers(2, 4), min_size=rank, max_size=rank))
    attributes["kernel_shape"] = kernel
    assume(all(p < k for p, k in zip(attributes.get("pads", []), kernel * 2, strict=False)))
    assume("auto_pad" not in attributes or all(s <= k for s, k in zip(attributes["strides"], kernel, strict=True)))
    if "auto_pad" not in attributes:
        attributes["ceil_mode"] = int(data.draw(st.booleans()))
    if kind == "AveragePool":
        attributes["count_include_pad"] = int(data.draw(st.booleans()))
    elif "auto_pad" not in attributes:
        attributes["dilations"] = data.draw(st.lists(st.integers(1, 2), min_size=rank, max_size=rank))
    sizes = data.draw(st.lists(st.integers(7, 10), min_size=rank, max_size=rank))
    opset = data.draw(st.sampled_from([11, 18, 19]))
    model = opened(write, [(kind, ["x"], ["y"], attributes)], (batch, 3, *sizes), opset=opset)
    assert kinds(model)[0] in (f"MaxPool{rank}d", f"AvgPool{rank}d", "Constant")


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("kind", ["GlobalAveragePool", "GlobalMaxPool"])
def test_global_pool(write: Any, kind: str, rank: int) -> None:
    opened(write, [(kind, ["x"], ["y"], {})], ("n", 3, *range(4, 4 + rank)))


ACTIVATIONS: list[tuple[str, dict[str, Any], int, str]] = [
    ("Relu", {}, 18, "ReLU"), ("Sigmoid", {}, 18, "Sigmoid"), ("Tanh", {}, 18, "Tanh"), ("Elu", {"alpha": 0.7}, 18, "ELU"),
    ("HardSwish", {}, 18, "Hardswish"), ("Softplus", {}, 18, "Softplus"), ("Softsign", {}, 18, "Softsign"),
    ("Mish", {}, 18, "Mish"), ("LeakyRelu", {"alpha": 0.3}, 18, "LeakyReLU"), ("Selu", {}, 18, "SELU"),
    ("Selu", {"alpha": 1.1, "gamma": 2.0}, 18, "ELU"), ("Celu", {"alpha": 0.5}, 18, "CELU"),
    ("ThresholdedRelu", {"alpha": 0.4}, 18, "Threshold"), ("HardSigmoid", {}, 18, "Hardtanh"),
    ("HardSigmoid", {"alpha": 1 / 6, "beta": 0.5}, 18, "Hardsigmoid"), ("Gelu", {}, 20, "GELU"),
    ("Gelu", {"approximate": "tanh"}, 20, "GELU"), ("Softmax", {"axis": 1}, 18, "Softmax"),
    ("Softmax", {}, 11, "Softmax"), ("LogSoftmax", {"axis": 2}, 11, "LogSoftmax"), ("LogSoftmax", {}, 18, "LogSoftmax"),
    ("Dropout", {}, 18, "Dropout"), ("Swish", {}, 24, "SiLU"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "attributes", "opset", "layer"), ACTIVATIONS)
def test_activation(write: Any, kind: str, attributes: dict[str, Any], opset: int, layer: str) -> None:
    assert layer in kinds(opened(write, [(kind, ["x"], ["y"], attributes)], ("n", 4, 3, 5), opset=opset))


@pytest.mark.parametrize(
    ("low", "high", "layer"),
    [(0, 6, "ReLU6"), (0, None, "ReLU"), (-1, 2, "Hardtanh"), (None, 1, ""), (-3.4028234663852886e38, 0.5, "Hardtanh")],
)
def test_clip(write: Any, low: float | None, high: float | None, layer: str) -> None:
    weights = {n: np.float32(v) for n, v in (("low", low), ("high", high)) if v is not None}
    names = ["x", "low" if low is not None else "", *(["high"] if high is not None else [])]
    model = opened(write, [("Clip", names, ["y"], {})], ("n", 4), weights=weights)
    assert kinds(model) == [layer] * bool(layer)


@pytest.mark.parametrize(("shape", "layer"), [((4, 1, 1), "PReLU"), ((1,), "PReLU"), ((4, 3, 5), "Constant")])
def test_prelu(write: Any, shape: tuple[int, ...], layer: str) -> None:
    model = opened(write, [("PRelu", ["x", "s"], ["y"], {})], ("n", 4, 3, 5), weights={"s": floats(*shape)})
    assert kinds(model) == [layer]


BINARY = ["Add", "Sub", "Mul", "Div", "Pow", "Min", "Max", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"]


few = settings(quick, max_examples=6)


@pytest.mark.parametrize("kind", BINARY)
@few
@given(other=st.sampled_from([(), (1,), (5,), (3, 1), (2, 4, 3, 5)]), swap=st.booleans())
def test_binary(write: Any, kind: str, other: tuple[int, ...], swap: bool) -> None:
    weights = np.full(other, 2.0, np.float32) if kind == "Pow" and not swap else np.abs(floats(*other)) + 0.5
    if len(other) == 4:
        weights = weights[:1]
    names = ["c", "x"] if swap else ["x", "c"]
    nodes = [
        ("Sigmoid", ["z"], ["s"], {}),
        ("Add", ["s", "half"], ["x"], {}),
        (kind, names, ["t"], {}),
        ("Cast", ["t"], ["y"], {"to": 1}),
    ]
    opened(write, nodes, {"z": (("n", 4, 3, 5), "float32")}, weights={"c": weights, "half": np.float32(0.5)})


@pytest.mark.parametrize("kind", ["Add", "Sub", "Mul", "Div", "Mod", "Max", "Min"])
@few
@given(divisor=st.sampled_from([-3, 2, 7]))
def test_whole_numbers(write: Any, kind: str, divisor: int) -> None:
    nodes = [("Mul", ["x", "c"], ["m"], {}), (kind, ["m", "d"], ["y"], {})]
    opened(write, nodes, {"x": (("n", 4), "int64")}, weights={"c": np.array([-7, 5, 8, -1]), "d": np.array(divisor)})


UNARY = [
    "Abs", "Neg", "Sign", "Exp", "Erf", "Floor", "Ceil", "Round", "Sin", "Cos", "Tan", "Atan", "Asinh", "Sinh",
    "Cosh", "Identity",
]  # fmt: skip
POSITIVE = ["Log", "Sqrt", "Reciprocal", "Asin", "Acos", "Atanh", "Acosh"]


@pytest.mark.parametrize("kind", [*UNARY, *POSITIVE, "IsNaN", "IsInf"])
def test_unary(write: Any, kind: str) -> None:
    nodes = [("Tanh" if kind in UNARY else "Sigmoid", ["x"], ["s"], {}), ("Mul", ["s", "half"], ["h"], {})]
    if kind == "Acosh":
        nodes.append(("Add", ["h", "one"], ["g"], {}))
    if kind == "Log" or kind == "Reciprocal":
        nodes.append(("Add", ["h", "half"], ["g"], {}))
    nodes.append((kind, [nodes[-1][2][0]], ["t"], {}))
    nodes.append(("Cast", ["t"], ["y"], {"to": 1}))
    opened(write, nodes, ("n", 4, 3), weights={"half": np.float32(0.6), "one": np.float32(1)}, opset=20)


def test_logic(write: Any) -> None:
    nodes = [
        ("Greater", ["x", "c"], ["g"], {}), ("Less", ["x", "d"], ["l"], {}), ("And", ["g", "l"], ["a"], {}),
        ("Or", ["g", "l"], ["o"], {}), ("Xor", ["a", "o"], ["e"], {}), ("Not", ["e"], ["n"], {}),
        ("Where", ["n", "x", "low"], ["w"], {}), ("Softmax", ["w"], ["y"], {}),
        ("CastLike", ["a", "x"], ["z"], {}),
    ]  # fmt: skip
    weights = {"c": np.float32(-0.2), "d": np.float32(0.3), "low": np.float32(-np.inf)}
    opened(write, nodes, ("n", 4, 30), ("y", "z"), weights)


def test_several_summands(write: Any) -> None:
    nodes = [
        ("Sum", ["x", "c", "x"], ["s"], {}), ("Mean", ["s", "x"], ["m"], {}), ("Max", ["m", "x", "c"], ["a"], {}),
        ("Min", ["a", "c", "x"], ["y"], {}),
    ]  # fmt: skip
    opened(write, nodes, ("n", 4), weights={"c": floats(4)})


REDUCE = ["Mean", "Sum", "Max", "Min", "Prod", "L1", "L2", "SumSquare", "LogSumExp"]


@pytest.mark.parametrize("kind", REDUCE)
@few
@given(
    axes=st.sampled_from([[1], [-1], [2, 3], [1, 3], [3, 2]]), keep=st.booleans(),
    opset=st.sampled_from([11, 18]),
)  # fmt: skip
def test_reduce(write: Any, kind: str, axes: list[int], keep: bool, opset: int) -> None:
    options: dict[str, Any] = {"keepdims": int(keep)}
    names, weights = ["s"], {}
    if opset >= 18:
        names, weights = ["s", "a"], {"a": np.array(axes)}
    else:
        options["axes"] = axes
    nodes = [("Tanh", ["x"], ["s"], {}), (f"Reduce{kind}", names, ["y"], options)]
    opened(write, nodes, ("n", 4, 3, 5), weights=weights, opset=opset)


def test_reduce_of_a_logarithm(write: Any) -> None:
    nodes = [("Sigmoid", ["x"], ["s"], {}), ("Add", ["s", "one"], ["t"], {}), ("ReduceLogSum", ["t", "a"], ["y"], {})]
    opened(write, nodes, ("n", 4, 3), weights={"a": np.array([1]), "one": np.float32(1)})


@pytest.mark.parametrize("kind", ["ArgMax", "ArgMin"])
@pytest.mark.parametrize("keep", [0, 1])
def test_arg(write: Any, kind: str, keep: int) -> None:
    opened(write, [(kind, ["x"], ["y"], {"axis": -1, "keepdims": keep})], ("n", 4, 3))


def test_order(write: Any) -> None:
    nodes = [
        ("Add", ["x", "c"], ["a"], {}), ("TopK", ["a", "k"], ["v", "i"], {"axis": 1}),
        ("CumSum", ["x", "one"], ["s"], {"reverse": 1, "exclusive": 1}), ("Trilu", ["x"], ["t"], {"upper": 0}),
    ]  # fmt: skip
    weights = {"c": np.arange(6, dtype=np.float32)[:, None], "k": np.array([3]), "one": np.array(1)}
    opened(write, nodes, ("n", 6, 3), ("v", "i", "s", "t"), weights)


@quick
@given(
    mode=st.sampled_from(["nearest", "linear", "cubic"]),
    how=st.sampled_from(["half_pixel", "pytorch_half_pixel", "asymmetric", "align_corners"]),
    rounding=st.sampled_from(["floor", "ceil", "round_prefer_floor", "round_prefer_ceil"]),
    size=st.tuples(st.integers(2, 15), st.integers(2, 15)),
    by_size=st.booleans(),
)
def test_resize(write: Any, mode: str, how: str, rounding: str, size: tuple[int, int], by_size: bool) -> None:
    assume(mode != "cubic" or how in ("half_pixel", "align_corners"))
    options: dict[str, Any] = {"mode": mode, "coordinate_transformation_mode": how}
    if mode == "nearest":
        options["nearest_mode"] = rounding
    weights: dict[str, Any] = {"sizes": np.array([1, 3, *size])}
    names = ["x", "", "", "sizes"]
    if not by_size:
        names, weights = ["x", "", "scales"], {"scales": np.array([1, 1, size[0] / 5, size[1] / 6], np.float32)}
    opened(write, [("Resize", names, ["y"], options)], (1 if by_size else "n", 3, 5, 6), weights=weights)


@pytest.mark.parametrize(("mode", "block"), [("DCR", 2), ("CRD", 2), ("", 3)])
def test_depth_and_space(write: Any, mode: str, block: int) -> None:
    nodes: Any = [("SpaceToDepth", ["x"], ["y"], {"blocksize": block})]
    if mode:
        nodes = [("DepthToSpace", ["x"], ["y"], {"blocksize": block, "mode": mode})]
    opened(write, nodes, ("n", 8, 6, 9))


@pytest.mark.parametrize("opset", [11, 13, 18])
@pytest.mark.parametrize("batch", ["n", 1])
def test_shapes(write: Any, opset: int, batch: Any) -> None:
    weights = {
        "r": np.array([0, 3, -1, 5]), "r2": np.array([batch if batch == 1 else -1, 12, 5]), "e": np.array([1, 2, 12, 5]),
        "t": np.array([1, 1, 2, 1]), "i": np.array([2, -1, 0]), "st": np.array([1, -1]), "en": np.array([4, -100]),
        "ax": np.array([2, 3]), "sp": np.array([1, -2]),
    }  # fmt: skip
    squeeze, unsqueeze = ({"axes": [2]}, {"axes": [1]}) if opset < 13 else ({}, {})
    more = [] if opset < 13 else ["s1"]
    more2 = [] if opset < 13 else ["s2"]
    weights.update({"s1": np.array([1]), "s2": np.array([2])} if opset >= 13 else {})
    nodes = [
        ("Transpose", ["x"], ["a"], {"perm": [0, 2, 1]}),  # n, 3, 4·5
        ("Reshape", ["a", "r"], ["b"], {}),  # n, 3, 4, 5
        ("Reshape", ["b", "r2"], ["c"], {}),  # n, 12, 5
        ("Unsqueeze", ["c", *more], ["d"], unsqueeze),
        ("Expand", ["d", "e"], ["f"], {}),  # n, 2, 12, 5
        ("Tile", ["f", "t"], ["g"], {}),  # n, 2, 24, 5
        ("Gather", ["g", "i"], ["h"], {"axis": 3}),  # n, 2, 24, 3
        ("Slice", ["g", "st", "en", "ax", "sp"], ["j"], {}),
        ("ReduceMax", ["j"], ["k"], {"axes": [2]}) if opset < 18 else ("ReduceMax", ["j", "s2"], ["k"], {}),
        ("Squeeze", ["k", *more2], ["l"], squeeze),
        ("Concat", ["h", "h"], ["m"], {"axis": -2}),
        ("Flatten", ["m"], ["y"], {"axis": 2}) if batch == 2 else ("Flatten", ["m"], ["y"], {}),
    ]
    opened(write, nodes, (batch, 20, 3), ("y", "l"), weights, opset)


@quick
@given(
    mode=st.sampled_from(["constant", "reflect", "edge"]),
    pads=st.lists(st.integers(0, 2), min_size=4, max_size=4), opset=st.sampled_from([11, 18]),
)  # fmt: skip
def test_pad(write: Any, mode: str, pads: list[int], opset: int) -> None:
    full = np.array([0, 0, *pads[:2], 0, 0, *pads[2:]])
    weights = {"p": full, "v": np.float32(0.7)}
    opened(write, [("Pad", ["x", "p", "v"], ["y"], {"mode": mode})], ("n", 3, 5, 6), weights=weights, opset=opset)


def test_split_in_all_ways(write: Any) -> None:
    for opset, weights, options, names in (
        (11, {}, {"split": [1, 4]}, ["x"]), (13, {"s": np.array([2, 3])}, {}, ["x", "s"]),
        (18, {}, {"num_outputs": 2}, ["x"]),
    ):  # fmt: skip
        nodes = [("Split", names, ["a", "b"], {"axis": 2, **options})]
        opened(write, nodes, ("n", 3, 5), ("b", "a"), weights, opset)


def test_indices(write: Any) -> None:
    weights = {
        "table": floats(5, 2, 2), "e": np.array([[[0, 1, -1]]]), "u": floats(1, 1, 3), "depth": np.array(5),
        "v": np.array([0.25, 2], np.float32), "two": np.array(5),
    }  # fmt: skip
    nodes = [
        ("Gather", ["table", "ids"], ["a"], {}), ("OneHot", ["ids", "depth", "v"], ["o"], {"axis": 1}),
        ("Gather", ["o", "zero"], ["g"], {"axis": 1}),
    ]  # fmt: skip
    weights["zero"] = np.array(0)
    opened(write, nodes, {"ids": (("n", 3), "int64")}, ("a", "o", "g"), weights)


def test_gather_elements(write: Any) -> None:
    nodes = [("ArgMax", ["x"], ["i"], {"axis": 2}), ("GatherElements", ["x", "i"], ["y"], {"axis": 2})]
    opened(write, nodes, ("n", 3, 5))


def test_constants_fold(write: Any) -> None:
    """Shape → Gather → Concat → Reshape vanishes; so do ranges, filled tensors and a branch whose condition is known."""
    nodes = [
        ("Shape", ["x"], ["s"], {}), ("Gather", ["s", "zero"], ["n"], {}), ("Unsqueeze", ["n", "z"], ["n1"], {}),
        ("Concat", ["n1", "rest"], ["t"], {"axis": 0}), ("Reshape", ["x", "t"], ["r"], {}),
        ("Range", ["zero", "six", "one"], ["range"], {}), ("Cast", ["range"], ["f"], {"to": 1}),
        ("ConstantOfShape", ["rest"], ["zeros"], {}), ("Size", ["zeros"], ["size"], {}),
        ("ScatterElements", ["f", "e", "u"], ["f2"], {}), ("ScatterND", ["f2", "nd", "u"], ["f3"], {}),
        ("NonZero", ["f3"], ["nz"], {}), ("Gather", ["f3", "nz"], ["f4"], {}), ("ReduceSum", ["f4"], ["f5"], {}),
        ("EyeLike", ["eye"], ["eyes"], {}), ("GatherND", ["eyes", "nd2"], ["g"], {}),
        ("Add", ["r", "f5"], ["a"], {}), ("Add", ["a", "g"], ["y"], {}),
    ]  # fmt: skip
    weights = {
        "zero": np.array(0), "six": np.array(6), "one": np.array(1), "z": np.array([0]), "rest": np.array([2, 6]),
        "e": np.array([2]), "u": np.array([9], np.float32), "nd": np.array([[4]]), "eye": floats(6, 6),
        "nd2": np.array([[2, 2]]),
    }  # fmt: skip
    model = opened(write, nodes, ("n", 12), weights=weights)
    assert [node["op"] for node in model.source.blueprint["nodes"]] == ["reshape", "add", "add"]


@quick
@given(
    kind=st.sampled_from(["LSTM", "GRU", "RNN"]), direction=st.sampled_from(["forward", "reverse", "bidirectional"]),
    bias=st.booleans(), state=st.booleans(), reset=st.booleans(), layout=st.sampled_from([0]),
)  # fmt: skip
def test_recurrent(write: Any, kind: str, direction: str, bias: bool, state: bool, reset: bool, layout: int) -> None:
    gates, ways, size = {"LSTM": 4, "GRU": 3, "RNN": 1}[kind], 2 if direction == "bidirectional" else 1, 3
    weights = {
        "w": floats(ways, gates * size, 5),
        "r": floats(ways, gates * size, size),
        "b": floats(ways, 2 * gates * size),
    }
    names = ["t", "w", "r", "b" if bias else "", "", *(["h"] if state else [])]
    options: dict[str, Any] = {"hidden_size": size, "direction": direction}
    if kind == "GRU":
        options["linear_before_reset"] = int(reset)
    ends = ["seq", "last"]
    inputs = {"x": (("n", 4, 5), "float32")}
    if state:
        inputs["h0"] = (("n", ways, size), "float32")
        if kind == "LSTM":
            names.append("h")
    nodes = [
        ("Transpose", ["x"], ["t"], {"perm": [1, 0, 2]}), *([("Transpose", ["h0"], ["h"], {"perm": [1, 0, 2]})] if state else []),
        (kind, names, ends, options), ("Transpose", ["seq"], ["y"], {"perm": [2, 0, 1, 3]}),
        ("Transpose", ["last"], ["z"], {"perm": [1, 0, 2]}),
    ]  # fmt: skip
    opened(write, nodes, inputs, ("y", "z"), weights)


def test_products(write: Any) -> None:
    weights = {"w": floats(5, 3), "b": floats(3), "v": floats(3, 4), "c": floats(1, 4)}
    nodes = [
        ("MatMul", ["x", "w"], ["a"], {}), ("Add", ["b", "a"], ["l"], {}), ("Transpose", ["l"], ["lt"], {"perm": [0, 2, 1]}),
        ("MatMul", ["l", "lt"], ["m"], {}), ("Einsum", ["m", "l"], ["e"], {"equation": "bij,bjk->bik"}),
        ("ReduceMax", ["e", "one"], ["f"], {"keepdims": 0}), ("Gemm", ["f", "v", "c"], ["y"], {"alpha": 0.5, "beta": 2.0}),
    ]  # fmt: skip
    model = opened(write, nodes, ("n", 4, 5), weights={**weights, "one": np.array([1])})
    assert kinds(model) == ["Linear", "Linear"]


@pytest.mark.parametrize("heads", [None, 2])
def test_attention(write: Any, heads: int | None) -> None:
    shape = ("n", 2, 5, 4) if heads is None else ("n", 5, 8)
    options = {} if heads is None else {"q_num_heads": heads, "kv_num_heads": heads}
    opened(write, [("Attention", ["x", "x", "x"], ["y"], options)], shape, opset=23)


def test_norms(write: Any) -> None:
    weights = {n: floats(4) for n in ("w", "b", "m")} | {"v": np.abs(floats(4)) + 0.5, "l": floats(5), "lb": floats(5)}
    nodes = [
        ("BatchNormalization", ["x", "w", "b", "m", "v"], ["a"], {"epsilon": 1e-3}),
        ("InstanceNormalization", ["a", "w", "b"], ["c"], {}), ("LRN", ["c"], ["d"], {"size": 3}),
        ("GroupNormalization", ["d", "w", "b"], ["e"], {"num_groups": 2}), ("LayerNormalization", ["e", "l", "lb"], ["f"], {}),
        ("LpNormalization", ["f"], ["g"], {"axis": 1}), ("MeanVarianceNormalization", ["g"], ["h"], {"axes": [2, 3]}),
        ("RMSNormalization", ["h", "l"], ["y"], {}),
    ]  # fmt: skip
    model = opened(write, nodes, ("n", 4, 3, 5), weights=weights, opset=23)
    assert kinds(model) == ["BatchNorm2d", "GroupNorm", "LocalResponseNorm", "GroupNorm", "LayerNorm", "RMSNorm"]


def test_patterns_become_layers(write: Any) -> None:
    weights = {
        "r2": np.float32(math.sqrt(2)), "one": np.float32(1), "half": np.float32(0.5), "three": np.float32(3),
        "six": np.float32(6), "zero": np.float32(0), "two": np.float32(2), "eps": np.float32(1e-5), "w": floats(6), "b": floats(6),
        "k": np.float32(math.sqrt(2 / math.pi)), "cubic": np.float32(0.044715),
    }  # fmt: skip
    nodes = [
        ("Div", ["x", "r2"], ["a"], {}), ("Erf", ["a"], ["b1"], {}), ("Add", ["b1", "one"], ["c"], {}),
        ("Mul", ["x", "c"], ["d"], {}), ("Mul", ["d", "half"], ["gelu"], {}),
        ("Sigmoid", ["gelu"], ["s"], {}), ("Mul", ["gelu", "s"], ["silu"], {}),
        ("Add", ["silu", "three"], ["h1"], {}), ("Clip", ["h1", "zero", "six"], ["h2"], {}),
        ("Mul", ["silu", "h2"], ["h3"], {}), ("Div", ["h3", "six"], ["hard"], {}),
        ("Softplus", ["hard"], ["p"], {}), ("Tanh", ["p"], ["t"], {}), ("Mul", ["hard", "t"], ["mish"], {}),
        ("Pow", ["mish", "three"], ["q1"], {}), ("Mul", ["q1", "cubic"], ["q2"], {}), ("Add", ["mish", "q2"], ["q3"], {}),
        ("Mul", ["q3", "k"], ["q4"], {}), ("Tanh", ["q4"], ["q5"], {}), ("Add", ["q5", "one"], ["q6"], {}),
        ("Mul", ["mish", "half"], ["q7"], {}), ("Mul", ["q7", "q6"], ["n"], {}),
        ("ReduceMean", ["n"], ["m1"], {"axes": [-1]}), ("Sub", ["n", "m1"], ["m2"], {}), ("Pow", ["m2", "two"], ["m3"], {}),
        ("ReduceMean", ["m3"], ["m4"], {"axes": [-1]}), ("Add", ["m4", "eps"], ["m5"], {}), ("Sqrt", ["m5"], ["m6"], {}),
        ("Div", ["m2", "m6"], ["m7"], {}), ("Mul", ["m7", "w"], ["m8"], {}), ("Add", ["m8", "b"], ["y"], {}),
    ]  # fmt: skip
    model = opened(write, nodes, ("n", 4, 6), weights=weights, opset=13)
    assert kinds(model) == ["GELU", "SiLU", "Hardswish", "Mish", "GELU", "LayerNorm"]


def test_group_norm_of_older_exports(write: Any) -> None:
    weights = {
        "i": np.array([0, 2, -1]), "o": np.array([1, 4, 3, 5]), "one": np.ones(2, np.float32), "zero": np.zeros(2, np.float32),
        "w": floats(4, 1, 1), "b": floats(4, 1, 1), "vary": floats(4, 3, 5),
    }  # fmt: skip
    nodes = [
        ("Sigmoid", ["x"], ["s"], {}), ("Mul", ["s", "vary"], ["v"], {}),
        ("Reshape", ["v", "i"], ["a"], {}), ("InstanceNormalization", ["a", "one", "zero"], ["c"], {}),
        ("Reshape", ["c", "o"], ["d"], {}), ("Mul", ["d", "w"], ["e"], {}), ("Add", ["e", "b"], ["y"], {}),
    ]  # fmt: skip
    assert kinds(opened(write, nodes, (1, 4, 3, 5), weights=weights)) == ["Sigmoid", "Constant", "GroupNorm"]


def test_upsample_of_old(write: Any) -> None:
    nodes = [("Constant", [], ["c"], {"value_floats": [1.0, 1.0, 2.0, 2.0]}), ("Resize", ["x", "e", "c"], ["y"], {})]
    opened(write, nodes, ("n", 3, 4, 4), weights={"e": np.zeros(0, np.float32)}, opset=12)


def test_every_operator_has_been_here() -> None:
    written = Path(__file__).read_text(encoding="utf-8")
    named = {name: name.removeprefix("Reduce") if name.startswith("Reduce") else name for name in tables.OPERATORS}
    left = {name for name, short in named.items() if f'"{name}"' not in written and f'"{short}"' not in written}
    assert left <= {"Upsample"}, sorted(left)  # gone since opset 10
