"""Examples run, with the result that the README shows."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

import paring
from paring.core.errors import ParingError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def demo(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.chdir(ROOT)  # paths in a recipe are relative to the working directory
    spec = importlib.util.spec_from_file_location("demo", ROOT / "examples" / "demo.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_demo_compresses_a_trained_network(
    demo: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result: paring.Result = demo.main(tmp_path / "demo")
    assert result.met
    assert "artifact:litert" in capsys.readouterr().out
    sizes = {stage: result.report.find(stage, "size")[0].value for stage in ("baseline", "artifact:litert")}
    assert sizes["artifact:litert"] < 0.36 * sizes["baseline"]
    assert result.report.find("artifact:litert", "agreement")[0].value > 99
    assert result.report.find("baseline", "accuracy")[0].value > 93


def test_without_fashion_mnist_it_runs_on_digits(
    demo: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def absent(name: str) -> None:
        raise ParingError("is not on this machine", name, "install it")

    monkeypatch.setattr(demo, "open_data", absent)
    result: paring.Result = demo.main(tmp_path / "demo")
    assert result.met
    assert "digits" in capsys.readouterr().err
    assert result.report.find("baseline", "accuracy")[0].value > 95
