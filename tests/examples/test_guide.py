"""Each example of the guide, by hand and as a recipe: both work, on the same data, and come to about the same."""

import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

from paring.steps import STEPS

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "examples" / "guide"
NEAR = 3.0  # points of accuracy: 360 test samples

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def needs(*steps: str) -> pytest.MarkDecorator:
    """Runs the test as soon as the steps are there."""
    missing = [step for step in steps if step not in STEPS]
    return pytest.mark.skipif(bool(missing), reason=f"there is no step {', '.join(missing)} yet")


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
        ("01_keras_to_tflite", 94, 0.8),
        ("02_polynomial_pruning", 92, 1.1),
        ("03_distillation", 94, 1.15),
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


def test_a_dense_layer_of_low_rank_by_hand() -> None:
    svd = example("04_svd")
    network = svd.trained()
    whole = svd.weights(network)
    found = svd.plain_form(network)
    assert found.accuracy > 94
    assert found.size < 0.7 * whole
    assert found.told.startswith("rank 64")


@needs("factorize.svd")
def test_a_dense_layer_of_low_rank_as_a_recipe(tmp_path: Path) -> None:
    svd = example("04_svd")
    found = svd.main(tmp_path)
    assert found["paring"].accuracy > found["plain"].accuracy - NEAR
    assert found["paring"].size < 1.1 * found["plain"].size


def test_the_workflow_by_hand() -> None:
    workflow = example("06_workflow")
    assert workflow.plain_form(workflow.svd.trained()).accuracy > 94


def test_the_workflow_as_a_recipe_of_the_steps_there_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workflow = example("06_workflow")
    there = [step for step in workflow.steps() if set(step) <= set(STEPS.names())]
    assert len(there) >= 2
    monkeypatch.setattr(workflow, "steps", lambda: there)
    found = workflow.main(tmp_path)
    assert found["paring"].accuracy > found["plain"].accuracy - NEAR


@needs("factorize.svd", "distill")
def test_every_step_of_the_workflow_is_there() -> None:
    assert {name for step in example("06_workflow").steps() for name in step} <= set(STEPS.names())
