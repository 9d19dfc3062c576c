"""Phases never go back; a refusal gives an order that works."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paring.core.errors import ParingError
from paring.core.step import Phase
from paring.recipes.order import check
from paring.recipes.recipe import Lines

steps = st.lists(st.sampled_from(Phase), max_size=8).map(
    lambda phases: [(f"{phase.name.lower()}{n}", phase) for n, phase in enumerate(phases)]
)


@given(steps)
def test_the_order_that_is_proposed_works(given_: list[tuple[str, Phase]]) -> None:
    try:
        check(given_, Lines())
    except ParingError as error:
        names = error.remedy.removeprefix("this order: ").split(" → ")
        phases = dict(given_)
        assert sorted(names) == sorted(phases)
        check([(name, phases[name]) for name in names], Lines())
    else:
        hard = [phase for _, phase in given_ if phase is not Phase.RECOVERY]
        assert hard == sorted(hard)


def test_training_after_quantization_is_refused_with_the_reason_and_the_line() -> None:
    lines = Lines("r.yaml", {("steps", 0): 5, ("steps", 1): 6})
    with pytest.raises(ParingError, match="scales fixed before it would no longer fit") as caught:
        check([("quantize.static", Phase.QUANTIZATION), ("finetune", Phase.RECOVERY)], lines)
    assert caught.value.where == "r.yaml, line 6"
    assert caught.value.remedy == "this order: finetune → quantize.static"
