"""What a run's report says besides its figures."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from paring.compression import OPERATORS
from paring.reporting import larger


def export(folder: Path, state: str, stage: str, size: int, quantized: int) -> Any:
    folder.mkdir()
    (folder / "model.tflite").write_bytes(bytes(size))
    (folder / OPERATORS).write_text(json.dumps({"quantized": {"FULLY_CONNECTED": quantized} if quantized else {}}))
    return SimpleNamespace(
        stage=stage, state=SimpleNamespace(name=state), target=SimpleNamespace(name="litert"),
        file=folder / "model.tflite", done=SimpleNamespace(path=folder),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("size", "quantized", "told"), [(126, 1000, True), (97, 3, True), (40, 3, False), (126, 0, False)]
)
def test_a_quantized_file_that_is_no_smaller_is_told(size: int, quantized: int, told: bool, tmp_path: Path) -> None:
    before = export(tmp_path / "before", "baseline", "baseline", 100, 0)
    after = export(tmp_path / "after", "01-quantize.static", "artifact:litert", size, quantized)
    found = list(larger([before, after]))
    assert bool(found) is told
    if told:
        assert f"takes {size} bytes, the float one 100" in found[0]
        assert f"its {quantized} operators" in found[0]
