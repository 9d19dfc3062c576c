"""For every test: properties are never a matter of time, and torch's exporter reads its table of operators once."""

import sys
from typing import Any

import pytest
from hypothesis import settings

settings.register_profile("paring", deadline=None)
settings.load_profile("paring")

_EXPORTER = "torch.onnx._internal.exporter._registration"
_tables: dict[tuple[object, ...], Any] = {}


@pytest.fixture(autouse=True)
def _one_table_of_operators() -> None:
    """Reading it is a third of each export to ONNX. It holds the operators known then, so more mean a new one."""
    exporter = sys.modules.get(_EXPORTER)
    if exporter is None or hasattr(exporter.ONNXRegistry, "read"):
        return
    import torch

    read = exporter.ONNXRegistry.read = exporter.ONNXRegistry.from_torchlib

    def once(**options: Any) -> Any:
        key = (len(torch._C._dispatch_get_all_op_names()), *options.values())
        if key not in _tables:
            _tables[key] = read(**options)
        return _tables[key]

    exporter.ONNXRegistry.from_torchlib = staticmethod(once)
