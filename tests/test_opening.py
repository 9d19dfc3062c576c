"""What a recipe names is opened, or told with its place."""

from pathlib import Path

import pytest

from paring import opening
from paring.core.errors import ParingError
from paring.recipes.read import read

RECIPE = """version: 1
model: zoo:resnet8
data: digits
targets:
  - litert: {io: int8, layout: NHWC}
"""


@pytest.mark.parametrize(
    ("old", "new", "problem", "remedy"),
    [
        ("layout", "layuot", "'layuot'", "'layout'"),
        ("int8", "int9", "targets.0.io", ""),
        ("litert", "litter", "'litter'", "'litert'"),
    ],
)
def test_a_wrong_target_is_told_with_its_line(tmp_path: Path, old: str, new: str, problem: str, remedy: str) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE.replace(old, new))
    with pytest.raises(ParingError) as caught:
        opening.targets(*read(path))
    assert (problem in caught.value.problem, remedy in caught.value.remedy) == (True, True)
    assert caught.value.where == f"{path}, line 5"


def test_a_wrong_target_of_a_device_is_told_with_the_device(tmp_path: Path) -> None:
    profile = tmp_path / "box.yaml"
    profile.write_text("name: box\ndescription: mine\ntargets:\n  - litert: {io: int9}\n")
    (tmp_path / "recipe.yaml").write_text(f"version: 1\nmodel: zoo:resnet8\ndata: digits\ndevice: {profile}\n")
    with pytest.raises(ParingError, match=r"targets\.0\.io") as caught:
        opening.targets(*read(tmp_path / "recipe.yaml"))
    assert caught.value.where == "device box"
