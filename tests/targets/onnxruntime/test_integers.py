"""Integers stand for the same numbers after each rewrite."""

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from onnx import TensorProto, helper, numpy_helper

import paring.steps.quantize.graph  # noqa: F401  # brings torch's quantizing operators
from paring.core.target import Array
from paring.targets.onnxruntime import integers, rewrite
from paring.targets.onnxruntime.session import session

floats = st.floats(-1e4, 1e4, width=32)
scales = st.floats(2.0**-20, 1e2, width=32)


def run(nodes: list[onnx.NodeProto], stored: dict[str, Array], x: Array) -> Array:
    """A graph from `x` to `y`, rewritten, in ONNX Runtime."""
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, list(x.shape))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in stored.items()],
    )  # fmt: skip
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    model = ir.from_proto(onnx.shape_inference.infer_shapes(proto))
    answers = []
    for shifted in (False, True):
        if shifted:
            integers.shift(model.graph)
        content = ir.to_proto(model).SerializeToString()
        answers.append(session(content, "test").run(None, {"x": x})[0])
    kinds = {tensor.data_type for tensor in ir.to_proto(model).graph.initializer if tensor.name.endswith("_u")}
    assert kinds == {TensorProto.UINT8}
    np.testing.assert_array_equal(*answers)
    return answers[0]


@given(arrays(np.float32, 20, elements=floats), scales, st.integers(-128, 127))
def test_shifted_codes_stand_for_the_same_numbers(x: Array, scale: float, zero_point: int) -> None:
    stored = {"s": np.float32(scale), "z": np.int8(zero_point)}
    nodes = [helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]), helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"])]  # fmt: skip  # noqa: E501
    got = run(nodes, {name: np.asarray(array) for name, array in stored.items()}, x)
    codes = np.clip(np.rint(x / np.float32(scale)) + zero_point, -128, 127)
    np.testing.assert_array_equal(got, ((codes - zero_point) * np.float32(scale)).astype(np.float32))


@given(arrays(np.int8, 30))
def test_each_code_is_128_more(codes: Array) -> None:
    moved = integers.shifted(codes)
    assert moved.dtype == np.uint8
    assert (moved.astype(int) - codes.astype(int) == integers.SHIFT).all()


@given(
    arrays(np.float32, (4, 6), elements=floats),
    arrays(np.float32, 4, elements=scales),
)
@example(  # divided by seven, these round the other way
    np.array([[45.5, 87.5, 101.5, 0, 0, 0]] * 4, np.float32), np.full(4, 7, np.float32)
)
def test_weights_are_stored_with_the_codes_of_torch(weight: Array, channels: Array) -> None:
    zeros = np.zeros(4, np.int8)
    nodes = [
        helper.make_node("QuantizeLinear", ["w", "s", "z"], ["q"], axis=0),
        helper.make_node("Clip", ["q", "low", "high"], ["c"]),
        helper.make_node("DequantizeLinear", ["c", "s", "z"], ["y"], axis=0),
    ]
    stored = {"w": weight, "s": channels, "z": zeros, "low": np.int8(-127), "high": np.int8(127)}
    graph = helper.make_graph(
        nodes, "g", [], [helper.make_tensor_value_info("y", TensorProto.FLOAT, [4, 6])],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in stored.items()],
    )  # fmt: skip
    model = ir.from_proto(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]))
    integers.store_weights(model.graph)
    (last,) = list(model.graph)
    wanted = torch.ops.quantized_decomposed.quantize_per_channel(
        torch.from_numpy(weight), torch.from_numpy(channels), torch.zeros(4, dtype=torch.int64), 0, -127, 127,
        torch.int8,
    )  # fmt: skip
    np.testing.assert_array_equal(last.inputs[0].const_value.numpy(), wanted.numpy())


def convolution(bias: Array) -> ir.Graph:
    """A quantized convolution with that bias: input scale 0.5, weight scales 0.25 and 0.125."""
    stored = {
        "s": np.float32(0.5), "z": np.int8(3), "w": np.ones((2, 1, 1, 1), np.int8),
        "ws": np.array([0.25, 0.125], np.float32), "wz": np.zeros(2, np.int8), "layer.bias": bias,
    }  # fmt: skip
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["wd"], axis=0),
        helper.make_node("Conv", ["d", "wd", "layer.bias"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, 2, 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2, 2, 2])],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in stored.items()],
    )  # fmt: skip
    return ir.from_proto(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])).graph


def test_a_bias_is_stored_with_the_product_of_the_scales() -> None:
    graph = convolution(np.array([1.0, -2.03], np.float32))
    integers.store_biases(graph)
    bias = next(node for node in graph if node.op_type == "Conv").inputs[2].producer()
    codes, scale = (value.const_value.numpy() for value in bias.inputs)
    assert codes.dtype == np.int32
    assert codes.tolist() == [8, -32]
    assert scale.tolist() == [0.125, 0.0625]


@pytest.mark.parametrize("value", [1e12, np.inf, np.nan])
def test_a_bias_that_32_bits_do_not_hold_stays(value: float) -> None:
    graph = convolution(np.array([1.0, value], np.float32))
    integers.store_biases(graph)
    assert next(node for node in graph if node.op_type == "Conv").inputs[2].name == "layer.bias"


def test_rewriting_a_float_graph_leaves_its_numbers(tmp_path: Path) -> None:
    weight = np.arange(4, dtype=np.float32).reshape(2, 2)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["m"]), helper.make_node("Relu", ["m"], ["y"])], "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2])], [numpy_helper.from_array(weight, "w")],
    )  # fmt: skip
    model = ir.from_proto(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]))
    rewrite.everything(model.graph)
    assert [node.op_type for node in model.graph] == ["MatMul", "Relu"]
    assert model.graph.initializers["w"].const_value.numpy().tolist() == weight.tolist()
