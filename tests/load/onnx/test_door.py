"""The front door `onnx:`: answers as ONNX Runtime does, takes any batch, refuses what it must."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import external_data_helper, helper

from paring import load
from paring.core.errors import MissingExtra, ParingError
from paring.core.model import Model, TensorSpec
from paring.load.onnx import build, tables
from paring.load.onnx.draft import Value
from paring.testing.doors import DoorContract, Original, answers
from paring.testing.models import TinyTask

chance = np.random.default_rng(1)


def floats(*shape: int) -> np.ndarray:
    return chance.normal(size=shape).astype(np.float32)


CONVNET: Any = [
    ("Conv", ["x", "block.conv.weight", "block.conv.bias"], ["c"], {"pads": [0, 0, 1, 1], "strides": [2, 2]}),
    ("Relu", ["c"], ["r"], {}),
    ("GlobalAveragePool", ["r"], ["p"], {}),
    ("Reshape", ["p", "flat"], ["f"], {}),
    ("Gemm", ["f", "head.weight", "head.bias"], ["y"], {"transB": 1}),
]
WEIGHTS = {
    "block.conv.weight": floats(6, 3, 3, 3), "block.conv.bias": floats(6), "head.weight": floats(4, 6),
    "head.bias": floats(4), "flat": np.array([1, 6]),
}  # fmt: skip


@pytest.fixture
def convnet(write: Any) -> Path:
    path: Path = write(CONVNET, {"x": ((1, 3, 9, 8), "float32")}, ["y"], WEIGHTS)
    return path


class TestOnnxDoor(DoorContract):
    """A file for one image: the rebuilt network takes any number of them."""

    @pytest.fixture
    def text(self, convnet: Path) -> str:
        return f"onnx:{convnet}"

    @pytest.fixture
    def shape(self) -> tuple[int, ...]:
        return (3, 9, 8)

    @pytest.fixture
    def weights(self) -> None:
        return None

    @pytest.fixture
    def original(self, convnet: Path) -> Original:
        session = onnxruntime.InferenceSession(convnet)

        def run(x: torch.Tensor) -> torch.Tensor:
            return torch.cat([torch.from_numpy(session.run(None, {"x": one[None].numpy()})[0]) for one in x])

        return run


TOKENS: Any = [
    ("Gather", ["words.weight", "ids"], ["e"], {}),
    ("Cast", ["mask"], ["m"], {"to": 1}),
    ("Unsqueeze", ["m", "last"], ["m1"], {}),
    ("Mul", ["e", "m1"], ["s"], {}),
    ("ReduceMean", ["s", "one"], ["p"], {"keepdims": 0}),
    ("MatMul", ["p", "w"], ["y"], {}),
]
TOKEN_WEIGHTS = {"words.weight": floats(30, 4), "last": np.array([2]), "one": np.array([1]), "w": floats(4, 2)}


class TestTokens(DoorContract):
    """Two inputs, the batch free and the length too."""

    @pytest.fixture
    def path(self, write: Any) -> Path:
        inputs = {"ids": (("batch", "length"), "int64"), "mask": (("batch", "length"), "int64")}
        path: Path = write(TOKENS, inputs, ["y"], TOKEN_WEIGHTS)
        return path

    @pytest.fixture
    def text(self, path: Path) -> str:
        return f"onnx:{path}"

    @pytest.fixture
    def shape(self) -> tuple[int, ...]:
        return (7,)

    @pytest.fixture
    def weights(self) -> None:
        return None

    @pytest.fixture
    def original(self, path: Path) -> Original:
        session = onnxruntime.InferenceSession(path)
        return lambda i, m: torch.from_numpy(session.run(None, {"ids": i.numpy(), "mask": m.numpy()})[0])

    def test_another_shape_is_refused(self, text: str, shape: tuple[int, ...], weights: Path | None) -> None:
        with pytest.raises(ParingError, match="'length' of ids, 'length' of mask"):
            load.open(text)
        with pytest.raises(ParingError, match="takes ids"):
            load.open(text, shape=(TensorSpec("ids", ("batch", 7, 1), "int64"),))

    def test_ids_range_over_their_table(self, model: Model) -> None:
        assert [spec.range for spec in model.inputs] == [(0, 29), None]
        assert model.inputs[0].shape == ("batch", 7)


def test_layers_have_the_names_of_their_weights(convnet: Path) -> None:
    model = load.open(f"onnx:{convnet}")
    names = [(name, type(module).__name__) for name, module in model.module.named_children()]
    assert names == [
        ("block_conv", "Conv2d"), ("Relu_1", "ReLU"), ("GlobalAveragePool_2", "AdaptiveAvgPool2d"), ("head", "Linear"),
    ]  # fmt: skip


def test_images_with_channels_last_come_in_channels_first(write: Any) -> None:
    """As converters from TensorFlow write them: the transposition that the file begins with is gone."""
    nodes = [("Transpose", ["image:0"], ["x"], {"perm": [0, 3, 1, 2]}), *CONVNET]
    path = write(nodes, {"image:0": (("n", 9, 8, 3), "float32")}, ["y"], WEIGHTS | {"flat": np.array([-1, 6])})
    model = load.open(f"onnx:{path}", shape=(3, 9, 8))
    assert model.inputs == (TensorSpec("image_0", ("batch", 3, 9, 8), layout="NCHW"),)
    assert "permute" not in {node["op"] for node in model.source.blueprint["nodes"]}
    with pytest.raises(ParingError, match="takes image:0 of shape"):
        load.open(f"onnx:{path}", shape=(9, 8, 3))


def test_free_sizes_come_from_the_task(write: Any) -> None:
    nodes = [("GlobalAveragePool", ["x"], ["p"], {}), ("Flatten", ["p"], ["f"], {}), ("MatMul", ["f", "w"], ["y"], {})]
    task = TinyTask()
    classes = len(task.labels)
    channels = task.inputs[0].shape[1]
    path = write(nodes, {"x": (("n", channels, "h", "w"), "float32")}, ["y"], {"w": floats(int(channels), classes)})
    model = load.open(f"onnx:{path}", task=task)
    assert model.inputs[0].shape == task.inputs[0].shape
    assert model.inputs[0].name == task.inputs[0].name


@pytest.mark.parametrize("fixed", [1, 2, 4])
def test_a_fixed_batch_is_found_behind_other_dimensions(write: Any, fixed: int) -> None:
    """Attention's shapes, written out for so many samples."""
    nodes: Any = [
        ("Transpose", ["x"], ["t"], {"perm": [1, 0, 2]}), ("Reshape", ["t", "heads"], ["h"], {}),
        ("Transpose", ["h"], ["q"], {"perm": [1, 0, 2]}), ("Transpose", ["h"], ["k"], {"perm": [1, 2, 0]}),
        ("MatMul", ["q", "k"], ["s"], {}), ("Softmax", ["s"], ["p"], {}), ("MatMul", ["p", "q"], ["o"], {}),
        ("Transpose", ["o"], ["b"], {"perm": [1, 0, 2]}), ("Reshape", ["b", "joined"], ["j"], {}),
        ("Transpose", ["j"], ["y"], {"perm": [1, 0, 2]}),
    ]  # fmt: skip
    weights = {"heads": np.array([5, fixed * 3, 2]), "joined": np.array([5, fixed, 6])}
    model = load.open(f"onnx:{write(nodes, {'x': ((fixed, 5, 6), 'float32')}, ['y'], weights)}")
    assert model.outputs[0].shape == ("batch", 5, 6)


def test_what_every_sample_shares_is_repeated(write: Any) -> None:
    """A class token in a file for one sample."""
    nodes: Any = [("Concat", ["token", "x"], ["c"], {"axis": 1}), ("Add", ["c", "place"], ["y"], {})]
    weights = {"token": floats(1, 1, 4), "place": floats(1, 6, 4)}
    model = load.open(f"onnx:{write(nodes, {'x': ((1, 5, 4), 'float32')}, ['y'], weights)}")
    assert model.outputs[0].shape == ("batch", 6, 4)


@pytest.mark.parametrize(
    "node",
    [
        ("Gather", ["x", "zero"], ["y"], {}), ("Softmax", ["x"], ["y"], {"axis": 0}), ("Squeeze", ["x",
        "z"], ["y"], {}),
        ("ReduceSum", ["x", "z"], ["y"], {}), ("Reshape", ["x", "mix"], ["y"], {}),
    ],
)  # fmt: skip
def test_what_mixes_samples_is_refused(write: Any, node: Any) -> None:
    weights = {"zero": np.array(0), "z": np.array([0]), "mix": np.array([2, 3])}
    with pytest.raises(ParingError, match=f"{node[0]}_|for a batch of 2"):
        load.open(f"onnx:{write([node], {'x': ((1, 6), 'float32')}, ['y'], weights)}")


def test_a_wrong_builder_is_caught_and_its_node_named(convnet: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(operator: build.Operator) -> Value:
        return operator.emit("LeakyReLU", operator[0])

    monkeypatch.setitem(tables.OPERATORS, "Relu", wrong)
    with pytest.raises(ParingError, match="the layer r answers otherwise"):
        load.open(f"onnx:{convnet}")


def test_data_beside_the_file_are_read(tmp_path: Path, convnet: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(onnx.load(convnet), path, save_as_external_data=True, location="model.data", size_threshold=64)
    x = floats(2, 3, 9, 8)
    found, wanted = (answers(load.open(f"onnx:{p}"), (torch.from_numpy(x),))["output"] for p in (path, convnet))
    assert torch.equal(found, wanted)

    (tmp_path / "model.data").write_bytes(b"short")
    with pytest.raises(ParingError, match="has 5 bytes"):
        load.open(f"onnx:{path}")
    (tmp_path / "model.data").unlink()
    with pytest.raises(ParingError, match=r"model\.data is missing"):
        load.open(f"onnx:{path}")


@pytest.mark.parametrize("location", ["../secret.data", "/etc/hostname", "link.data"])
def test_data_elsewhere_are_not_read(tmp_path: Path, convnet: Path, location: str) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "secret.data").write_bytes(bytes(10000))
    (folder / "link.data").symlink_to(tmp_path / "secret.data")
    proto = onnx.load(convnet)
    for tensor in proto.graph.initializer:
        external_data_helper.set_external_data(tensor, location)
        tensor.ClearField("raw_data")
    onnx.save(proto, folder / "model.onnx")
    with pytest.raises(ParingError, match="outside its folder"):
        load.open(f"onnx:{folder / 'model.onnx'}")


def test_unknown_operators_are_named_all_at_once(write: Any, tmp_path: Path) -> None:
    nodes: Any = [("NonMaxSuppression", ["b", "s"], ["i"], {}), ("Det", ["x"], ["d"], {}), ("Relu", ["d"], ["y"], {})]
    inputs = {"x": (("n", 2, 2), "float32"), "b": ((1, 2, 4), "float32"), "s": ((1, 1, 2), "float32")}
    path = write(nodes, inputs, ["y", "i"])
    proto = onnx.load(path)
    proto.graph.node.append(helper.make_node("Twist", ["y"], ["t"], name="mine", domain="my.own"))
    proto.graph.output.append(onnx.ValueInfoProto(name="t"))
    proto.opset_import.append(helper.make_opsetid("my.own", 1))
    onnx.save(proto, tmp_path / "own.onnx")
    with pytest.raises(ParingError) as caught:
        load.open(f"onnx:{tmp_path / 'own.onnx'}")
    for told in ("Det at Det_1", "NonMaxSuppression at NonMaxSuppression_0", "my.own.Twist at mine"):
        assert told in str(caught.value)


def test_functions_of_the_file_are_put_in_place(convnet: Path, tmp_path: Path) -> None:
    proto = onnx.load(convnet)
    proto.graph.node[1].op_type, proto.graph.node[1].domain = "Twice", "my.own"
    body = [helper.make_node("Relu", ["a"], ["b"]), helper.make_node("Relu", ["b"], ["c"])]
    opset = [helper.make_opsetid("", 18)]
    proto.functions.append(helper.make_function("my.own", "Twice", ["a"], ["c"], body, opset))
    proto.opset_import.append(helper.make_opsetid("my.own", 1))
    onnx.save(proto, tmp_path / "function.onnx")
    model = load.open(f"onnx:{tmp_path / 'function.onnx'}")
    assert [type(module).__name__ for module in model.module.children()].count("ReLU") == 2


def test_control_flow_is_refused(write: Any, tmp_path: Path) -> None:
    proto = onnx.load(write([("Relu", ["x"], ["y"], {})], {"x": (("n", 2), "float32")}, ["y"]))
    empty = helper.make_graph([helper.make_node("Identity", ["y"], ["z"])], "b", [], [onnx.ValueInfoProto(name="z")])
    greater = helper.make_node("ReduceSum", ["x"], ["sum"], keepdims=0)
    proto.graph.node.extend(
        [
            greater,
            helper.make_node("Cast", ["sum"], ["c"], to=9),
            helper.make_node("If", ["c"], ["o"], name="choice", then_branch=empty, else_branch=empty),
        ]
    )
    proto.graph.output[0].name = "o"
    onnx.save(proto, tmp_path / "if.onnx")
    with pytest.raises(ParingError, match=r"over the batch|depends on values"):
        load.open(f"onnx:{tmp_path / 'if.onnx'}")


def test_a_branch_whose_condition_is_known_is_taken(tmp_path: Path) -> None:
    def branch(kind: str) -> onnx.GraphProto:
        return helper.make_graph([helper.make_node(kind, ["x"], ["z"])], kind, [], [onnx.ValueInfoProto(name="z")])

    nodes = [
        helper.make_node("Constant", [], ["c"], value=helper.make_tensor("v", 9, [], [False])),
        helper.make_node("If", ["c"], ["o"], then_branch=branch("Det"), else_branch=branch("Tanh")),
    ]
    x = helper.make_tensor_value_info("x", 1, ["n", 4])
    graph = helper.make_graph(nodes, "g", [x], [helper.make_tensor_value_info("o", 1, ["n", 4])])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), tmp_path / "m.onnx")
    model = load.open(f"onnx:{tmp_path / 'm.onnx'}")
    assert [type(module).__name__ for module in model.module.children()] == ["Tanh"]


def test_a_quantized_file_is_refused(write: Any) -> None:
    nodes: Any = [("QuantizeLinear", ["x", "s"], ["q"], {}), ("DequantizeLinear", ["q", "s"], ["y"], {})]
    path = write(nodes, {"x": (("n", 4), "float32")}, ["y"], {"s": np.float32(0.1)})
    with pytest.raises(ParingError, match="is quantized"):
        load.open(f"onnx:{path}")


def test_half_precision_is_refused(write: Any) -> None:
    path = write([("Relu", ["x"], ["y"], {})], {"x": (("n", 4), "float16")}, ["y"])
    with pytest.raises(ParingError, match="half precision"):
        load.open(f"onnx:{path}")


def test_weights_that_are_not_numbers_are_refused(write: Any) -> None:
    weights = WEIGHTS | {"head.bias": np.array([0, np.nan, 0, 0], np.float32)}
    with pytest.raises(ParingError, match=r"head\.bias"):
        load.open(f"onnx:{write(CONVNET, {'x': ((1, 3, 9, 8), 'float32')}, ['y'], weights)}")


def _versions(proto: onnx.ModelProto, opset: int, format_: int) -> onnx.ModelProto:
    proto.opset_import[0].version, proto.ir_version = opset, format_
    return proto


@pytest.mark.parametrize(
    ("opset", "format_", "told"), [(10, 5, "the oldest that is read is 11"), (99, 8, "opset 99"), (18, 99, "format 99")]
)
def test_other_versions_are_refused(convnet: Path, tmp_path: Path, opset: int, format_: int, told: str) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(_versions(onnx.load(convnet), opset, format_).SerializeToString())
    with pytest.raises(ParingError, match=told):
        load.open(f"onnx:{path}")


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\n....", b"plain text", bytes(1000)])
def test_another_kind_of_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    with pytest.raises(ParingError):
        load.open(f"onnx:{path}")


def test_a_file_cut_short_or_altered_is_refused_or_answers_as_it_says(tmp_path: Path, convnet: Path) -> None:
    """Nothing but a ParingError ever comes out of damage."""
    whole = convnet.read_bytes()
    path = tmp_path / "m.onnx"
    cut = 0
    for size in range(0, len(whole), len(whole) // 12):
        path.write_bytes(whole[:size])
        with pytest.raises(ParingError):
            load.open(f"onnx:{path}")
        cut += 1
    assert cut >= 12
    for place in chance.integers(0, len(whole), 40):
        altered = bytearray(whole)
        altered[place] ^= int(chance.integers(1, 256))
        path.write_bytes(bytes(altered))
        try:
            load.open(f"onnx:{path}")
        except ParingError:
            continue


def test_no_such_file_and_options(convnet: Path) -> None:
    with pytest.raises(ParingError, match="no such file"):
        load.open("onnx:nowhere.onnx")
    with pytest.raises(ParingError, match="takes no options"):
        load.open(f"onnx:{convnet}(width=2)")


def test_without_the_library_the_extra_is_named(convnet: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    for name in [name for name in sys.modules if name.startswith("paring.load.onnx")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "onnx_ir", None)
    with pytest.raises(MissingExtra, match=r"paring\[onnx\]"):
        load.open(f"onnx:{convnet}")
