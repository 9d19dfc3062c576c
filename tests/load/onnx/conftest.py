"""Small ONNX files."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

Write = Callable[..., Path]


def model(
    nodes: Sequence[tuple[str, Sequence[str], Sequence[str], Mapping[str, Any]]],
    inputs: Mapping[str, tuple[Sequence[int | str], str]],
    outputs: Sequence[str],
    weights: Mapping[str, Any] | None = None,
    opset: int = 18,
) -> onnx.ModelProto:
    """A graph of nodes (kind, inputs, outputs, attributes)."""
    made = [
        helper.make_node(kind, list(given), list(gives), name=f"{kind}_{i}", **attributes)
        for i, (kind, given, gives, attributes) in enumerate(nodes)
    ]
    graph = helper.make_graph(
        made,
        "graph",
        [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), list(shape))
            for name, (shape, dtype) in inputs.items()
        ],
        [onnx.ValueInfoProto(name=name) for name in outputs],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in (weights or {}).items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


@pytest.fixture(scope="session")
def write(tmp_path_factory: pytest.TempPathFactory) -> Write:
    """Writes a model, and gives its path."""
    folder = tmp_path_factory.mktemp("onnx")
    count = iter(range(10**6))

    def saved(*args: Any, **options: Any) -> Path:
        path = folder / f"{next(count)}.onnx"
        onnx.save(model(*args, **options), path)
        return path

    return saved
