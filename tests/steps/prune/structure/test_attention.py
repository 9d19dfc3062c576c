"""Units between layers, cut out."""

import copy

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from paring.steps.prune.structure.attention import Units, cut, silence


@given(
    st.integers(1, 3),
    st.integers(1, 3),
    st.integers(1, 4),
    st.sampled_from([1, 2, 3]),
    st.booleans(),
    st.integers(0, 99),
)
def test_a_network_cut_to_some_units_answers_as_one_that_reads_no_others(size, left, gone, groups, conv, seed):
    groups = groups if conv else 1
    torch.manual_seed(seed)
    count = (left + gone) * groups
    wide = count * size
    if conv:
        network = nn.Sequential(
            nn.Conv1d(2 * groups, wide, 1, groups=groups), nn.Tanh(), nn.Conv1d(wide, 3 * groups, 1, groups=groups)
        )
    else:
        network = nn.Sequential(nn.Linear(2, wide, bias=bool(seed % 2)), nn.Tanh(), nn.Linear(wide, 3))
    units = Units("1", "heads", ("0",), "2", count, size, groups, {"width": size})
    inside = torch.cat([g * (left + gone) + torch.randperm(left + gone)[:left] for g in range(groups)]).sort().values
    small, silent = copy.deepcopy(network), copy.deepcopy(network)
    cut(small, units, inside)
    silence(silent, units, inside)
    x = torch.randn(4, 2 * groups, 5) if conv else torch.randn(4, 2)
    torch.testing.assert_close(small(x), silent(x))
    assert small[1].width == left * groups * size
    assert small[0].weight.shape[0] == left * groups * size
    sizes = ("in_channels", "out_channels") if conv else ("in_features", "out_features")
    assert [getattr(small[2], name) for name in sizes] == [left * groups * size, 3 * groups]
    assert not torch.allclose(silent(x), network(x))
