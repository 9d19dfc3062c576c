"""A recipe's repairs are checked before any work begins."""

import pytest
from pydantic import ValidationError

from paring.steps.quantize.repairs import REPAIRS
from paring.steps.quantize.repairs.options import OPTIONS, chosen
from paring.steps.quantize.static import StaticConfig


def test_every_repair_has_options() -> None:
    assert tuple(sorted(OPTIONS)) == REPAIRS.names()


def test_a_repair_is_a_name_or_a_name_with_options() -> None:
    (one, plain), (two, options) = chosen(["equalize", {"adaround": {"iterations": 7}}])
    assert (one, two) == ("equalize", "adaround")
    assert plain == OPTIONS["equalize"]()
    assert options.model_dump()["iterations"] == 7


@pytest.mark.parametrize(
    ("repairs", "message"),
    [
        (["adaruond"], "did you mean 'adaround'"),
        ([{"adaround": {"iteration": 5}}], "options: iterations, positions"),
        ([{"adaround": {"iterations": 0}}], "adaround: iterations"),
        ([{"adaround": {}, "brecq": {}}], "a name with its options"),
    ],
)
def test_what_there_is_not_is_refused(repairs: list[object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        StaticConfig.model_validate({"repairs": repairs})
