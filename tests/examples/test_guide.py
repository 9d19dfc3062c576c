"""Each example of the guide, by hand and as a recipe: both work, on the same data, and come to about the same."""

import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "examples" / "guide"
NEAR = 3.0  # points of accuracy: 360 test samples

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(GUIDE))
    monkeypatch.chdir(ROOT)


def example(name: str) -> ModuleType:
    sys.modules.pop(name, None)
    return import_module(name)


@pytest.mark.parametrize(
    ("name", "accuracy", "size"),
    [  # least accuracy of both, %, and the largest size of paring's form beside the other
        pytest.param("01_keras_to_tflite", 94, 0.8, marks=pytest.mark.slow),
        pytest.param("02_polynomial_pruning", 92, 1.1, marks=pytest.mark.slow),
        pytest.param("03_distillation", 94, 1.15, marks=pytest.mark.slow),
        ("05_evaluate_and_finetune", 97, 1.0),
    ],
)
def test_both_forms_come_to_about_the_same(
    name: str, accuracy: float, size: float, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = example(name).main(tmp_path)
    plain, paring = found["plain"], found["paring"]
    assert min(plain.accuracy, paring.accuracy) > accuracy
    assert paring.accuracy > plain.accuracy - NEAR
    assert paring.size < size * plain.size
    shown = capsys.readouterr().out
    assert f"{plain.accuracy:5.1f} %" in shown
    assert f"{paring.accuracy:5.1f} %" in shown


def test_a_dense_layer_of_low_rank(tmp_path: Path) -> None:
    svd = example("04_svd")
    whole = svd.weights(svd.trained())
    found = svd.main(tmp_path)
    plain, paring = found["plain"], found["paring"]
    assert plain.accuracy > 94
    assert plain.size < 0.7 * whole
    assert plain.told.startswith("rank 64")
    assert paring.accuracy > plain.accuracy - NEAR
    assert paring.size < 1.1 * plain.size


def test_the_workflow_of_six_steps(tmp_path: Path) -> None:
    workflow = example("06_workflow")
    found = workflow.main(tmp_path)
    assert found["plain"].accuracy > 94
    assert found["paring"].accuracy > found["plain"].accuracy - NEAR
