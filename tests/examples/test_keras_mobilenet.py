"""The Keras example runs."""

import importlib.util
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "keras_mobilenet.py"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_keras_model_answers_in_litert_as_in_keras(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("keras_mobilenet", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    assert example.main(tmp_path) < 1e-5
    assert (tmp_path / "model.tflite").is_file()
