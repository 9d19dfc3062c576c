"""How many heads and feed-forward units stay, and which."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from paring.core.errors import ParingError
from paring.steps.prune.structure.allot import budget, staying
from paring.steps.prune.structure.attention import Units


@st.composite
def layers(draw, kind):
    groups = draw(st.sampled_from([1, 1, 2, 4]))
    counts = draw(st.lists(st.integers(1, 12), min_size=1, max_size=5))
    return [Units(str(i), kind, (), "", count * groups, groups=groups) for i, count in enumerate(counts)]


def drawn(units, seed):
    chance = torch.Generator().manual_seed(seed)
    return {one.name: torch.rand(one.count, generator=chance, dtype=torch.float64) for one in units}


def even(one, kept):
    """Each group keeps as many as the others."""
    return len(set(torch.bincount(kept // (one.count // one.groups), minlength=one.groups).tolist())) == 1


@given(st.data(), layers("feed_forward"), st.floats(0.01, 1), st.sampled_from([1, 8]), st.integers(0, 9))
def test_a_share_of_each_layer_becomes_a_multiple_and_the_best_of_each_group_stay(data, units, share, round_to, seed):
    scores = drawn(units, seed)
    left = budget(units, share, round_to, "layer", "here")
    kept = staying(units, scores, left, round_to, "layer")
    for one, count in zip(units, left, strict=True):
        chosen = kept[one.name]
        step = max(round_to, one.groups)  # one divides the other here
        assert len(chosen) == count
        assert torch.equal(chosen, chosen.unique())
        assert even(one, chosen)
        assert count == one.count or (count % step == 0 and abs(count - share * one.count) <= step)
        for group in range(one.groups):
            own = (torch.arange(one.count) // (one.count // one.groups)) == group
            inside = torch.isin(torch.arange(one.count), chosen)
            if bool((own & ~inside).any()):
                assert scores[one.name][own & inside].min() >= scores[one.name][own & ~inside].max()


@given(layers("feed_forward"), st.floats(0.01, 1), st.sampled_from([1, 8]), st.integers(0, 9))
def test_a_share_of_all_layers_is_met_to_within_a_chunk(units, share, round_to, seed):
    left = budget(units, share, round_to, "global", "here")
    kept = staying(units, drawn(units, seed), left, round_to, "global")
    total = sum(one.count for one in units)
    least = sum(min(one.count, max(round_to, one.groups)) for one in units)
    found = sum(len(one) for one in kept.values())
    assert all(len(one) for one in kept.values())
    assert all(even(one, kept[one.name]) for one in units)
    assert found <= max(least, round(share * total))
    assert found > share * total - max(round_to, units[0].groups) - 1


@given(layers("heads"), st.data(), st.integers(0, 9))
def test_a_number_of_all_heads_is_met_exactly(units, data, seed):
    step = units[0].groups
    wanted = data.draw(st.integers(len(units), sum(one.count for one in units) // step)) * step
    left = budget(units, wanted, 8, "global", "here")
    scores = drawn(units, seed)
    kept = staying(units, scores, left, 8, "global")
    assert sum(len(one) for one in kept.values()) == wanted
    assert all(even(one, kept[one.name]) and len(kept[one.name]) for one in units)
    if step == 1:  # but for the best of each layer, none that goes is better than one that stays
        gone = [s for one in units for i, s in enumerate(scores[one.name].tolist()) if i not in kept[one.name]]
        more = [s for one in units for s in sorted(scores[one.name][kept[one.name]].tolist())[:-1]]
        assert not gone or not more or max(gone) <= min(more)


@given(layers("heads"), st.floats(0.01, 1))
def test_a_share_of_heads_is_a_whole_number_of_them_or_refused(units, share):
    wanted = [share * one.count for one in units]
    if all(abs(n - round(n)) < 0.01 and round(n) and round(n) % units[0].groups == 0 for n in wanted):
        assert budget(units, share, 8, "layer", "here") == [round(n) for n in wanted]
    else:
        with pytest.raises(ParingError, match="heads do not divide so"):
            budget(units, share, 8, "layer", "here")


def test_a_share_of_few_digits_is_taken_as_meant():
    units = [Units("0", "heads", (), "", 12)]
    assert budget(units, 0.333, 8, "layer", "here") == [4]
    with pytest.raises(ParingError, match=r"0.3 of 12 are 3.6"):
        budget(units, 0.3, 8, "layer", "here")
