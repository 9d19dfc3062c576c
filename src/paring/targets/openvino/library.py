"""OpenVINO, without what it does when it is imported: it starts a process that tells its makers over the network."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

_TELLS = "openvino_telemetry"


@contextmanager
def _untold() -> Iterator[None]:
    """Meanwhile nobody can import what tells; OpenVINO does without."""
    known = sys.modules.get(_TELLS)
    sys.modules[_TELLS] = None  # type: ignore[assignment]  # as Python marks what is not to be found
    try:
        yield
    finally:
        del sys.modules[_TELLS]
        if known is not None:
            sys.modules[_TELLS] = known


with _untold():
    import openvino
    from openvino import PartialShape
    from openvino import opset15 as opset
    from openvino._offline_transformations import apply_moc_transformations
    from openvino.frontend import FrontEndManager

__all__ = ["FrontEndManager", "PartialShape", "apply_moc_transformations", "openvino", "opset"]
