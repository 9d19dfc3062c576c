"""Limits combine; samples for timing lie within the inputs' ranges."""

from hypothesis import given
from hypothesis import strategies as st

from paring.core.model import TensorSpec
from paring.core.target import Limits, one_sample

kinds = st.frozensets(st.sampled_from(["float32", "int8", "int4", "int16"]))
storable = st.frozensets(st.tuples(st.sampled_from(["int8", "int4"]), st.sampled_from(["linear", "conv"]), st.just(0)))
limits = st.builds(Limits, kinds, kinds, st.booleans(), storable, st.floats(0, 99), storable)


@given(limits, limits)
def test_both_can_execute_what_each_can(one: Limits, other: Limits) -> None:
    both = one & other
    assert both == other & one
    assert both.weights <= one.weights
    assert both.weights <= other.weights
    assert both.dynamic == one.dynamic & other.dynamic
    assert both.stored == one.stored & other.stored


@given(st.integers(0, 99), st.floats(-5, 0), st.floats(0.125, 5))
def test_a_sample_has_the_shape_the_type_and_the_range(seed: int, low: float, high: float) -> None:
    specs = (
        TensorSpec("image", ("batch", 3, 4, 5), "float32", "NCHW", (low, high)),
        TensorSpec("tokens", ("batch", 7), "int64", "", (0, 9)),
    )
    sample = one_sample(specs, seed)
    assert sample["image"].shape == (1, 3, 4, 5)
    assert sample["image"].min() >= low - 1e-6
    assert sample["image"].max() <= high + 1e-6
    assert sample["tokens"].dtype == "int64"
    assert set(sample["tokens"].flat) <= set(range(10))


def test_what_is_slow_on_one_is_slow_on_both() -> None:
    none = frozenset[str]()
    one, other = (Limits(none, none, slow=frozenset({("int4", kind, "float32")})) for kind in ("conv", "linear"))
    assert (one & other).slow == one.slow | other.slow
