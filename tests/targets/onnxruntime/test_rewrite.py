"""Each rewrite by itself: the answers of ONNX Runtime stay, and what need not be there is gone."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from paring.core.target import Array
from paring.targets.onnxruntime import rewrite
from paring.targets.onnxruntime.session import session

CODES = np.iinfo(np.int8)
Q, DQ = "QuantizeLinear", "DequantizeLinear"


def build(nodes: list[onnx.NodeProto], shape: tuple[int, ...], **stored: Any) -> ir.Model:
    """A graph from `x` to `y`, types inferred."""
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, list(shape))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in stored.items()],
    )  # fmt: skip
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    return ir.from_proto(onnx.shape_inference.infer_shapes(proto, strict_mode=True))


def kinds(model: ir.Model) -> list[str]:
    return [node.op_type for node in model.graph]


def same(model: ir.Model, change: Callable[[Any], None], shape: tuple[int, ...], tolerance: float = 0.0) -> None:
    """The answers before and after a change."""
    x = np.random.default_rng(0).normal(0, 3, shape).astype(np.float32)

    def answer() -> Array:
        proto = ir.to_proto(model)
        onnx.checker.check_model(proto, full_check=True)
        return session(proto.SerializeToString(), "test").run(None, {"x": x})[0]

    before = answer()
    change(model.graph)
    np.testing.assert_allclose(answer(), before, atol=tolerance, rtol=0)


@given(
    st.floats(2.0**-20, 10, width=32),
    st.integers(-128, 127),
    st.floats(-50, 50, width=32),
    st.floats(0, 50, width=32),
    st.lists(st.floats(-1e4, 1e4, width=32), min_size=1, max_size=50),
)
def test_a_clip_is_implied_exactly_where_no_code_changes(
    scale: float, zero_point: int, low: float, width: float, values: list[float]
) -> None:
    bounds = np.array([low, np.float32(low) + np.float32(width)], np.float32)
    steps = np.array([code + d - zero_point for code in (-128, 127) for d in (-0.5, 0, 0.5)], np.float32)
    x = np.concatenate([np.array(values, np.float32), steps * np.float32(scale), bounds, np.float32([-1e9, 1e9])])

    def codes(numbers: Array) -> Array:
        return np.clip(np.rint(numbers / np.float32(scale)) + zero_point, CODES.min, CODES.max)

    changes = bool((codes(np.clip(x, *bounds)) != codes(x)).any())
    assert rewrite.implied(scale, zero_point, CODES, (float(bounds[0]), float(bounds[1]))) is not changes


@pytest.mark.parametrize(
    ("scale", "zero_point", "bounds", "gone"),
    [
        (6 / 255, -128, (0.0, 6.0), True),
        (0.01, -128, (0.0, 6.0), True),
        (0.01, -128, (0.0, np.inf), True),
        (0.01, -127, (0.0, np.inf), False),  # one code below zero
        (7 / 255, -128, (0.0, 6.0), False),  # codes above six
        (0.01, 0, (-1.0, 1.0), False),
        (0.01, 0, (-1.28, 1.27), True),
        (0.01, 0, (-1.28, 1.26), False),
        (0.01, 0, (-1.27, 1.27), False),
        (0.0235294141, -128, (0.0, 6.0), True),  # 255 codes reach 6.0000005
    ],
)
def test_a_clip_goes_where_the_codes_end_within_it(
    scale: float, zero_point: int, bounds: tuple[float, float], gone: bool
) -> None:
    stored: dict[str, Any] = {"s": np.float32(scale), "z": np.int8(zero_point)}
    first = helper.make_node("Relu", ["x"], ["c"])
    if bounds[1] < np.inf:
        stored |= {"low": np.float32(bounds[0]), "high": np.float32(bounds[1])}
        first = helper.make_node("Clip", ["x", "low", "high"], ["c"])
    nodes = [first, helper.make_node(Q, ["c", "s", "z"], ["q"]), helper.make_node(DQ, ["q", "s", "z"], ["y"])]
    model = build(nodes, (1, 100), **stored)
    same(model, rewrite.drop_clips, (1, 100))
    assert (len(kinds(model)) == 2) is gone


def test_a_clip_that_is_used_elsewhere_stays() -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["c"]),
        helper.make_node(Q, ["c", "s", "z"], ["q"]),
        helper.make_node(DQ, ["q", "s", "z"], ["d"]),
        helper.make_node("Add", ["c", "d"], ["y"]),
    ]
    model = build(nodes, (1, 100), s=np.float32(0.01), z=np.int8(-128))
    same(model, rewrite.drop_clips, (1, 100))
    assert "Relu" in kinds(model)


@pytest.mark.parametrize("keepdims", [0, 1])
@pytest.mark.parametrize("quantized", [False, True])
def test_a_mean_over_an_image_becomes_a_pooling(keepdims: int, quantized: bool) -> None:
    mean = "m" if quantized else "y"
    nodes = [helper.make_node("ReduceMean", ["x", "axes"], [mean], keepdims=keepdims)]
    if quantized:
        nodes += [helper.make_node(Q, ["m", "s", "z"], ["q"]), helper.make_node(DQ, ["q", "s", "z"], ["y"])]
    model = build(nodes, (2, 3, 4, 5), axes=np.array([-1, 2]), s=np.float32(0.01), z=np.int8(0))
    same(model, rewrite.pool, (2, 3, 4, 5), 1e-6 if not quantized else 0.011)
    flat = [] if keepdims else ["Flatten"]
    ends = [Q, *flat, DQ] if quantized else flat
    assert kinds(model) == ["GlobalAveragePool", *ends]


@pytest.mark.parametrize("axes", [[1], [1, 2], [1, 2, 3]])
def test_another_mean_stays(axes: list[int]) -> None:
    model = build([helper.make_node("ReduceMean", ["x", "axes"], ["y"])], (1, 3, 4, 5), axes=np.array(axes))
    rewrite.pool(model.graph)
    assert kinds(model) == ["ReduceMean"]


def padded(pads: list[int], between: bool, mode: str = "constant", value: float = 0.0) -> ir.Model:
    nodes = [helper.make_node("Pad", ["x", "pads", "value"], ["p"], mode=mode)]
    if between:
        nodes += [helper.make_node(Q, ["p", "s", "z"], ["q"]), helper.make_node(DQ, ["q", "s", "z"], ["d"])]
    nodes.append(helper.make_node("Conv", ["d" if between else "p", "w"], ["y"], pads=[1, 0, 0, 1]))
    weight = np.random.default_rng(1).normal(size=(2, 2, 3, 3)).astype(np.float32)
    stored = {"pads": np.array(pads), "value": np.float32(value), "s": np.float32(0.05), "z": np.int8(7), "w": weight}
    return build(nodes, (1, 2, 6, 6), **stored)


@pytest.mark.parametrize("between", [False, True])
def test_zeros_around_an_image_become_the_convolutions_own(between: bool) -> None:
    model = padded([0, 0, 0, 1, 0, 0, 2, 1], between)
    same(model, rewrite.fuse_pads, (1, 2, 6, 6), 1e-5)
    assert "Pad" not in kinds(model)
    conv = next(node for node in model.graph if node.op_type == "Conv")
    assert conv.attributes["pads"].as_ints() == (1, 1, 2, 2)


@pytest.mark.parametrize(
    ("pads", "mode", "value"),
    [
        ([0, 0, 0, 1, 0, 0, 2, 1], "constant", 1.0),
        ([0, 0, 0, 1, 0, 0, 2, 1], "reflect", 0.0),
        ([0, 0, 0, -1, 0, 0, 0, 0], "constant", 0.0),
        ([1, 0, 0, 0, 0, 0, 0, 0], "constant", 0.0),
    ],
)
def test_other_pads_stay(pads: list[int], mode: str, value: float) -> None:
    model = padded(pads, False, mode, value)
    rewrite.fuse_pads(model.graph)
    assert "Pad" in kinds(model)


@pytest.mark.parametrize(("after", "gone"), [(0.05, True), (0.06, False)])
def test_a_pad_between_equal_scales_pads_codes(after: float, gone: bool) -> None:
    nodes = [
        helper.make_node(Q, ["x", "s", "z"], ["q"]),
        helper.make_node(DQ, ["q", "s", "z"], ["d"]),
        helper.make_node("Pad", ["d", "pads"], ["p"]),
        helper.make_node(Q, ["p", "t", "z"], ["r"]),
        helper.make_node(DQ, ["r", "t", "z"], ["y"]),
    ]
    stored = {"s": np.float32(0.05), "t": np.float32(after), "z": np.int8(7), "pads": np.array([0, 1, 0, 2])}
    model = build(nodes, (3, 4), **stored)
    same(model, rewrite.pad_codes, (3, 4))
    assert (kinds(model).count(Q) == 1) is gone
