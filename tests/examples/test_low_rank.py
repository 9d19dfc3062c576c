"""The recipe on low rank runs, in a shorter form: without timing each layer, with less training."""

from pathlib import Path

import pytest
import yaml

import paring

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_recipe_halves_the_file_and_keeps_the_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    recipe = yaml.safe_load((ROOT / "examples" / "low-rank-digits.yaml").read_text(encoding="utf-8"))
    options = recipe["steps"][0]["factorize.svd"]
    options |= {"slower": "allow", "recover": {**options["recover"], "epochs": 1}}
    result = paring.compress(recipe, out=tmp_path / "run")
    assert result.met
    macs = {stage: result.report.find(stage, "macs")[0].value for stage in ("baseline", "01-factorize.svd")}
    assert 0.55 < macs["01-factorize.svd"] / macs["baseline"] <= 0.6
