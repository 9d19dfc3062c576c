"""Tensors of the network's own beside activations: on integers, with their scales in the file."""

from pathlib import Path

from paring.targets.onnxruntime import ONNXRuntime
from paring.targets.openvino import OpenVINO
from paring.testing.between import Stored, agreement, between

STORED = {
    "times": Stored(lambda y, own: y * own, 8, 1, 1),
    "plus": Stored(lambda y, own: y + own, 8, 8),
    "minus": Stored(lambda y, own: own - y, 1, 8, 1, 1),
}
TARGET = ONNXRuntime()


def test_a_stored_operand_answers_as_in_the_graph(tmp_path: Path) -> None:
    model = between(STORED, tmp_path, int8=True)
    for target in (TARGET, OpenVINO()):
        found = agreement(target, model, STORED, tmp_path)
        assert {name: value for name, value in found.items() if value < 30} == {}
    assert {"QLinearMul", "QLinearAdd"} <= set(TARGET.describe(tmp_path / "m.onnx").quantized)
