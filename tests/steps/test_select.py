"""Layers by name or by kind."""

import pytest

from paring.core.errors import UnknownName
from paring.steps.select import Choosable, select

LAYERS = [
    Choosable("stem.conv", frozenset({"conv", "first"})),
    Choosable("blocks.0.body", frozenset({"depthwise"})),
    Choosable("blocks.10.body", frozenset({"conv"})),
    Choosable("classifier", frozenset({"linear", "last"})),
]


@pytest.mark.parametrize(
    ("patterns", "chosen"),
    [
        ([], ()),
        (["@first", "@last"], ("stem.conv", "classifier")),
        (["@conv"], ("stem.conv", "blocks.10.body")),
        (["blocks"], ("blocks.0.body", "blocks.10.body")),  # a module, with all that is in it
        (["blocks.1"], None),
        (["blocks.1*"], ("blocks.10.body",)),
        (["classifier", "stem*"], ("stem.conv", "classifier")),  # in the order of the network
        (["*"], tuple(layer.name for layer in LAYERS)),
    ],
)
def test_patterns_choose_by_name_and_by_kind(patterns: list[str], chosen: tuple[str, ...] | None) -> None:
    if chosen is None:
        with pytest.raises(UnknownName):
            select(patterns, LAYERS, "here")
    else:
        assert select(patterns, LAYERS, "here") == chosen


@pytest.mark.parametrize(("pattern", "nearest"), [("clasifier", "'classifier'"), ("@depthwize", "'@depthwise'")])
def test_a_pattern_without_a_match_is_refused_with_the_nearest_name(pattern: str, nearest: str) -> None:
    with pytest.raises(UnknownName) as caught:
        select([pattern], LAYERS, "quantize.static: keep_float")
    assert nearest in caught.value.remedy
    assert caught.value.where == "quantize.static: keep_float"
