"""What the tests of this folder share."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from paring.core.model import Model
from paring.core.target import ExportOptions
from paring.load import saved
from paring.targets.openvino import export


@pytest.fixture(autouse=True, scope="session")
def _each_graph_once() -> Iterator[None]:
    """The ONNX of a model is made once: it takes nearly all of the time, and the tests of `onnxruntime` prove it."""
    made, write = dict[tuple[str, str], bytes](), export.written

    def written(model: Model, options: ExportOptions, change: Callable[[Any], None], where: str) -> bytes:
        key = saved.digest(model), options.model_dump_json()
        if key not in made:
            made[key] = write(model, options, change, where)
        return made[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "written", written)
        yield
