"""What is wrong in a recipe is told with its line and the nearest key."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paring.core.errors import ParingError
from paring.recipes.read import read, validated, write
from paring.recipes.recipe import Recipe, StepSpec, TargetSpec
from paring.steps.quantize.static import StaticConfig

GOOD = """\
version: 1
model: zoo:mobilenet_v2(width=0.5)
weights: checkpoints/x.safetensors
data: fashion-mnist
targets: [litert: {io: int8, layout: NHWC}]
steps:
  - finetune: {epochs: 2}
  - quantize.static:
      calibration: {method: mse, samples: 100}
require: {accuracy_drop: 1.0 pt}
"""


def from_text(folder: Path, text: str) -> Recipe:
    path = folder / "recipe.yaml"
    path.write_text(text)
    return read(path)[0]


def test_a_file_a_dictionary_and_a_recipe_are_the_same(tmp_path: Path) -> None:
    recipe = from_text(tmp_path, GOOD)
    assert recipe.steps[0] == StepSpec(name="finetune", config={"epochs": 2})
    assert recipe.targets[0].options == {"io": "int8", "layout": "NHWC"}
    assert read(recipe.as_json())[0] == recipe
    assert read(recipe)[0] is recipe


names = st.sampled_from(["quantize.static", "finetune"])


@given(st.lists(names, max_size=4), st.lists(st.just(TargetSpec(name="litert")), max_size=2), st.integers(0, 2**32 - 1))
def test_what_is_written_reads_back(steps: list[str], targets: list[TargetSpec], seed: int) -> None:
    recipe = Recipe.model_validate(
        {"version": 1, "model": "zoo:x", "data": "y: # 'z'", "steps": steps, "seed": seed, "targets": targets}
    )
    assert read(recipe.as_json())[0] == recipe


def test_a_written_file_reads_back(tmp_path: Path) -> None:
    recipe = from_text(tmp_path, GOOD)
    write(recipe, tmp_path / "again.yaml")
    assert read(tmp_path / "again.yaml")[0] == recipe


@pytest.mark.parametrize(
    ("old", "new", "line", "problem", "remedy"),
    [
        ("data: f", "dta: f", 4, "no key is called 'dta'", "'data'"),
        ("require: {accuracy_drop", "require: {acuracy_drop", 10, "acuracy_drop", "'accuracy_drop'"),
        ("version: 1", "version: 2", 1, "version", ""),
        ("  - finetune: {epochs: 2}", "  - {finetune: {}, distill: {}}", 6, "steps", ""),
        ("data: fashion-mnist", "data: fashion-mnist\ndata: digits", 5, "stands twice", "keep one"),
        ("model: zoo", "model: [zoo", 2, "not YAML", ""),
        ("version: 1\n", "", 1, "version: Field required", ""),
    ],
)
def test_the_line_is_named(tmp_path: Path, old: str, new: str, line: int, problem: str, remedy: str) -> None:
    assert old in GOOD
    with pytest.raises(ParingError) as caught:
        from_text(tmp_path, GOOD.replace(old, new))
    error = caught.value
    assert problem in error.problem
    assert remedy in error.remedy
    if "not YAML" not in problem:  # a parser may notice a bracket that stays open further down
        assert error.where == f"{tmp_path / 'recipe.yaml'}, line {line}"


def test_options_of_a_step_are_checked_with_their_line(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(GOOD.replace("samples: 100", "smaples: 100"))
    recipe, lines = read(path)
    with pytest.raises(ParingError, match="no key is called 'smaples'") as caught:
        validated(StaticConfig, recipe.steps[1].config, lines, ("steps", 1))
    assert caught.value.where.endswith("line 9")
    assert "'samples'" in caught.value.remedy


@pytest.mark.parametrize("content", ["", "[]", "just text", "- a\n- b", "a: b: c", "\x00"])
def test_what_is_no_recipe_is_refused(tmp_path: Path, content: str) -> None:
    with pytest.raises(ParingError, match=r"recipe.yaml"):
        from_text(tmp_path, content)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ParingError, match="No such file"):
        read(tmp_path / "none.yaml")


@given(st.dictionaries(st.text(max_size=8), st.integers() | st.text(max_size=8) | st.none(), max_size=4))
def test_whatever_is_wrong_the_error_is_ours(data: dict[str, Any]) -> None:
    with pytest.raises(ParingError):
        read({"version": 1, "model": "zoo:x", **data, "steps": 7})


def test_a_recipe_runs_no_code(tmp_path: Path) -> None:
    with pytest.raises(ParingError, match="not YAML"):
        from_text(tmp_path, GOOD + f"device: !!python/object/apply:os.mkdir ['{tmp_path / 'hacked'}']\n")
    assert not (tmp_path / "hacked").exists()


def test_a_key_beside_a_merge_counts_instead_of_what_that_brings(tmp_path: Path) -> None:
    merged = GOOD.replace(
        GOOD[GOOD.index("steps:") : GOOD.index("require:")],
        "steps:\n  - finetune: &one {epochs: 2, batch_size: 8}\n  - finetune: {<<: *one, epochs: 3}\n",
    )
    assert from_text(tmp_path, merged).steps[1].config == {"epochs": 3, "batch_size": 8}
