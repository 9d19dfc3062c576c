"""The least memory that activations need, by hand and from the graph."""

from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from paring.measure.peak import peak


class Calls(nn.Module):
    def __init__(self, function: Callable[[Tensor], object]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> object:
        return self.function(x)


def values(function: Callable[[Tensor], object], size: int = 100) -> int:
    """How many values exist at once, of an input of `size`."""
    return peak(torch.export.export(Calls(function), (torch.zeros(1, size),), strict=False), 1).bytes


def wider(x: Tensor, to: int) -> Tensor:
    """An operator that is neither a view nor pointwise."""
    return nn.functional.linear(x, torch.zeros(to, x.shape[-1]))


@pytest.mark.parametrize(
    ("function", "wanted"),
    [
        (lambda x: wider(x, 50), 150),  # input and output
        (lambda x: wider(wider(x, 300), 50), 400),  # the input is gone when the last one runs
        (lambda x: wider(x, 50).relu().tanh(), 150),  # activations write over their input
        (lambda x: wider(x, 50).reshape(1, 5, 10).flatten(1), 150),  # views take nothing
        (lambda x: x + wider(x, 100), 200),  # the input waits for the sum, which writes over it
        (lambda x: wider(x.relu(), 100) + x, 300),  # here it cannot: the input is read later
        (lambda x: (wider(x, 50), wider(x, 70)), 220),  # outputs stay
        (lambda x: torch.cat(wider(x, 50).split(25, 1), 1), 150),
        (lambda x: x.reshape(10, 10).max(1), 110 + 4 * 10),  # the second output holds integers
        (lambda x: x.reshape(10, 10).max(1)[0], 110),  # nobody takes it
        (lambda x: wider(torch.ones(1, 100), 100) + x, 100),  # constants are no activations
    ],
)
def test_buffers_live_from_the_first_writer_to_the_last_reader(
    function: Callable[[Tensor], object], wanted: int
) -> None:
    assert values(function) == wanted


@given(st.lists(st.integers(1, 50), min_size=1, max_size=5))
@settings(max_examples=10, deadline=None)
def test_a_chain_needs_its_largest_neighbours(sizes: list[int]) -> None:
    def chain(x: Tensor) -> Tensor:
        for size in sizes:
            x = wider(x, size)
        return x

    every = [7, *sizes]
    assert values(chain, 7) == max(a + b for a, b in pairwise(every))


def test_integers_keep_their_width() -> None:
    program = torch.export.export(nn.Embedding(10, 8), (torch.zeros(1, 5, dtype=torch.int64),))
    assert (peak(program, 4).bytes, peak(program, 1).bytes) == (5 * 4 + 40 * 4, 5 * 4 + 40)
