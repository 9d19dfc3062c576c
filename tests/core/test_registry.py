"""A registry loads what is asked for, and names the nearest when it is not there."""

import pytest

from paring.core.errors import MissingExtra, UnknownName
from paring.core.registry import Registry


def test_it_gives_what_the_entry_names() -> None:
    assert Registry("thing", {"pi": "math:pi"}).load("pi") == pytest.approx(3.14159, abs=1e-5)


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownName, match=r"no step is called 'quantise.static'") as caught:
        Registry("step", {"quantize.static": "math:pi", "finetune": "math:e"}).load("quantise.static")
    assert "'quantize.static'" in caught.value.remedy


def test_a_missing_package_is_answered_with_its_extra() -> None:
    with pytest.raises(MissingExtra, match=r"pip install 'paring\[far\]'"):
        Registry("target", {"away": "no_such_package_xyz:x"}, extras={"away": "far"}).load("away")


def test_a_fault_of_our_own_is_not_taken_for_a_missing_package() -> None:
    with pytest.raises(ModuleNotFoundError) as caught:
        Registry("step", {"broken": "paring.no_such_module:x"}).load("broken")
    assert not isinstance(caught.value, MissingExtra)
