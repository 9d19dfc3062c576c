"""The target `coreml` keeps the contract of what is exported, and says that nothing here runs it."""

import platform
from pathlib import Path

import pytest

from paring.core.errors import ParingError
from paring.core.target import ExportOptions, Target, why_not_run, why_not_timed
from paring.targets.coreml import CoreML
from paring.testing.targets import ExportContract


class TestCoreML(ExportContract):
    @pytest.fixture
    def target(self) -> Target:
        return CoreML()

    def leave_old(self, path: Path) -> None:
        path.mkdir()
        (path / "Manifest.json").write_bytes(b"old")


def test_only_a_mac_runs_it_and_not_even_that_times_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    assert why_not_run(CoreML()) == why_not_timed(CoreML()) == "Core ML runs on Apple's systems only"
    with pytest.raises(ParingError, match="Apple's systems"):
        CoreML().open(tmp_path / "m.mlpackage")
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    assert why_not_run(CoreML()) is None
    assert why_not_timed(CoreML()) == "a Mac's time and memory say nothing of a phone's"


@pytest.mark.parametrize("ends", [{"io": "int8"}, {"layout": "NHWC"}])
def test_other_ends_are_refused(tmp_path: Path, ends: dict[str, str]) -> None:
    from paring.testing.models import tiny

    with pytest.raises(ValueError, match="Input should be"):
        CoreML.Options.model_validate(ends)
    with pytest.raises(ParingError, match="float values, channels first"):
        CoreML().export(tiny(), tmp_path / "m.mlpackage", ExportOptions.model_validate(ends))
    assert not list(tmp_path.iterdir())
