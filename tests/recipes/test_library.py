"""Recipes of the library: read, with options that exist and an order that holds; each runs on a small network."""

from pathlib import Path
from typing import Any

import pytest
import yaml

import paring
from paring import api, opening
from paring.core.errors import ParingError, UnknownName
from paring.recipes import library
from paring.recipes.read import read
from paring.testing.texts import bert_and_table

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "src" / "paring" / "recipes" / "library"
DIGITS = {"model": str(ROOT / "checkpoints" / "resnet8-digits.safetensors"), "data": "digits"}


def test_the_readme_lists_every_recipe() -> None:
    assert sorted(library.names()) == sorted(path.stem for path in FOLDER.glob("*.yaml"))
    assert all(line and not line.endswith(".") for line in library.lines().values())


@pytest.mark.parametrize("name", library.names())
def test_it_reads_and_its_options_and_order_hold(name: str) -> None:
    recipe, lines = read(name, **DIGITS)
    assert (recipe.model, recipe.data, lines.name) == (*DIGITS.values(), name)
    assert not {"model", "data", "weights", "device"} & yaml.safe_load(library.text(name)).keys()
    assert library.text(name).startswith("# ")
    opening.steps(recipe, lines)
    opening.targets(recipe, lines)


def test_what_is_printed_is_a_recipe_to_change(tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text(
        api.recipe("small").replace("sparsity: 0.8", "sparsity: 0.9") + "model: zoo:resnet8\ndata: digits\n"
    )
    recipe, _ = read(mine, weights="w.safetensors")
    assert (recipe.model, recipe.weights, recipe.steps[1].config["sparsity"]) == ("zoo:resnet8", "w.safetensors", 0.9)
    assert read(recipe, seed=3)[0].seed == 3
    assert read(recipe)[0] is recipe
    assert read(recipe, model="zoo:resnet20")[0].weights is None  # weights belong to their model
    assert read(recipe.as_json(), data="fashion-mnist")[0].weights == "w.safetensors"


def test_a_file_of_that_name_goes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("small").write_text("version: 1\nmodel: zoo:resnet8\ndata: digits\n")
    assert read("small")[0].steps == ()


@pytest.mark.parametrize(
    ("name", "given", "problem", "remedy"),
    [
        ("small", {}, "model: Field required", "give --model"),
        ("small", {"model": "zoo:resnet8"}, "data: Field required", "give --data"),
        ("smal", {}, "cannot be read", "gentle, balanced, small"),
    ],
)
def test_what_is_lacking_is_told(name: str, given: dict[str, Any], problem: str, remedy: str) -> None:
    with pytest.raises(ParingError) as caught:
        read(name, **given)
    assert problem in caught.value.problem
    assert remedy in caught.value.remedy


def test_an_unknown_recipe_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownName, match="no recipe is called") as caught:
        api.recipe("smal")
    assert "'small'" in caught.value.remedy


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in library.names() if name != "fast-nlp"])
def test_it_runs_on_digits(name: str, tmp_path: Path) -> None:
    result = paring.compress(name, **DIGITS, out=tmp_path / name)
    found = result.report
    size = {stage: found.find(stage, "size")[0].value for stage in ("baseline", "artifact:litert")}
    assert size["artifact:litert"] < 0.45 * size["baseline"]
    assert found.find("artifact:litert", "accuracy")[0].value > 80
    assert found.stages[-2].invariants  # of the last step


@pytest.mark.slow
def test_the_one_for_texts_runs_on_a_small_bert(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder, table = bert_and_table(tmp_path, num_hidden_layers=6)
    result = paring.compress("fast-nlp", model=f"hf:{folder}", data=f"table:{table}", out=tmp_path / "run")
    size = {stage: result.report.find(stage, "size")[0].value for stage in ("baseline", "artifact:litert")}
    assert size["artifact:litert"] < size["baseline"]
