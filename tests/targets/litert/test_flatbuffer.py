"""A file holds nothing that nothing uses."""

from pathlib import Path

from paring.core.target import ExportOptions
from paring.targets.litert import flatbuffer
from paring.targets.litert.export import export
from paring.testing.models import quantized


def test_every_tensor_buffer_and_kind_of_operator_is_used(tmp_path: Path) -> None:
    model = flatbuffer.read(export(quantized(), tmp_path / "m.tflite", ExportOptions(io="int8")).read_bytes())
    graph = model.subgraphs[0]
    read = {int(i) for one in graph.operators for i in (*one.inputs, *one.outputs)} | {int(i) for i in graph.inputs}
    assert set(range(len(graph.tensors))) <= read
    owners = [*graph.tensors, *model.metadata]
    assert {0, *(int(one.buffer) for one in owners)} == set(range(len(model.buffers)))
    assert {int(one.opcodeIndex) for one in graph.operators} == set(range(len(model.operatorCodes)))
