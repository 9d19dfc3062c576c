"""Texts varied at random."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from paring.data.order import Portion
from paring.data.variation import Draws, Variation, by_class, chosen, drawn

CHANCE = st.floats(0, 1, exclude_max=True)
SHARE = st.floats(0, 0.5)
TEXT = np.arange(10, 20, dtype=np.uint16)
OTHER = np.arange(30, 37, dtype=np.uint16)


def draws(kind: float = 0.0, first: float = 0.0, second: float = 0.0, tokens: float = 0.99, room: int = 12) -> Draws:
    return Draws(kind, first, second, 0.0, np.full(room, tokens))


@given(
    variation=st.builds(Variation, crop=SHARE, splice=SHARE, drop=st.floats(0, 1)),
    text=st.integers(0, 12), other=st.integers(0, 12), kind=CHANCE, first=CHANCE, second=CHANCE,
    tokens=st.lists(CHANCE, min_size=12, max_size=12),
)  # fmt: skip
def test_a_text_stays_one_of_its_own_tokens_in_their_order(variation, text, other, kind, first, second, tokens):
    own, others = np.arange(100, 100 + text), np.arange(200, 200 + other)
    found = variation(own, others, Draws(kind, first, second, 0.0, np.asarray(tokens)), 12)
    assert bool(text) == bool(len(found))
    assert len(found) <= 12
    assert (np.diff(found) > 0).all()
    assert set(found) <= {*own, *others}
    assert not text or found[0] < 200 or variation.drop  # its own beginning


@pytest.mark.parametrize(
    ("first", "second", "left"),
    [(0.0, 0.0, TEXT[:1]), (0.99, 0.0, TEXT), (0.35, 0.0, TEXT[:4]), (0.35, 0.99, TEXT[6:])],
)
def test_a_part_stays(first, second, left):
    found = Variation(crop=1, splice=0, drop=0)(TEXT, OTHER, draws(0.5, first, second), 12)
    assert found.tolist() == left.tolist()


def test_it_goes_on_as_another_within_the_room():
    splice = Variation(crop=0.25, splice=0.5, drop=0)
    assert splice(TEXT, OTHER, draws(0.25, 0.25, 0.5), 12).tolist() == [10, 11, 12, 33, 34, 35, 36]
    assert splice(TEXT, OTHER, draws(0.74, 0.99, 0.0), 12).tolist() == [*TEXT, 30, 31]
    assert splice(TEXT, OTHER, draws(0.75, 0.5, 0.5), 12).tolist() == TEXT.tolist()


def test_tokens_are_left_out_but_never_all():
    drop = Variation(crop=0, splice=0, drop=0.5)
    some = Draws(0.0, 0.0, 0.0, 0.0, np.where(np.arange(12) % 2, 0.4, 0.6))
    assert drop(TEXT, OTHER, some, 12).tolist() == TEXT[::2].tolist()
    assert drop(TEXT, OTHER, draws(tokens=0.1), 12).tolist() == [10]


def test_what_goes_on_is_of_the_same_class():
    targets = np.array([0, 1, 0, 1, 0, 1])
    classes = by_class(np.array([0, 1, 2, 3]), targets)
    chance = drawn(7, Portion(0, 200, np.zeros(200, np.int64)), (0, 1), 4)
    others = chosen(classes, np.ones(200, np.int64), chance)
    assert set(others.tolist()) == {1, 3}


def test_chance_is_that_of_the_place_in_the_whole_batch():
    whole = drawn(3, Portion(5, 6, np.arange(6)), (0, 1), 4)
    share = drawn(3, Portion(5, 6, np.arange(3)), (1, 2), 4)
    assert [one.first for one in share] == [one.first for one in whole[1::2]]
    assert drawn(3, Portion(6, 6, np.arange(6)), (0, 1), 4)[0].kind != whole[0].kind


@pytest.mark.parametrize("wrong", [{"crop": 0.6, "splice": 0.6}, {"drop": 1.5}, {"swap": 0.1}])
def test_what_cannot_be_is_refused(wrong):
    with pytest.raises(ValidationError):
        Variation(**wrong)
