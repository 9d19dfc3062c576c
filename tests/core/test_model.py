"""Specs read back; a changed model keeps what came before."""

from dataclasses import replace

import torch
from hypothesis import given
from hypothesis import strategies as st

from paring.core.model import Edit, Event, Invariant, Source, TensorSpec
from paring.testing.models import tiny

sizes = st.lists(st.integers(1, 512) | st.sampled_from(["batch", "time"]), max_size=5).map(tuple)
ranges = st.none() | st.tuples(st.floats(-10, 0), st.floats(0, 10))


@given(
    st.builds(
        TensorSpec, st.text(), sizes, st.sampled_from(["float32", "int64"]), st.sampled_from(["", "NCHW"]), ranges
    )
)
def test_a_spec_reads_back(spec: TensorSpec) -> None:
    assert TensorSpec.from_json(spec.as_json()) == spec
    assert all(isinstance(size, int) for size in spec.sized(3))


def test_a_source_is_written_as_in_a_recipe() -> None:
    assert (
        str(Source("zoo:mobilenet_v2", {"width": 0.5, "form": "small"})) == "zoo:mobilenet_v2(width=0.5, form='small')"
    )
    assert str(Source("zoo:resnet8")) == "zoo:resnet8"


def test_history_edits_and_invariants_add_up() -> None:
    first, edit, scale = tiny(), Edit("e", {}), Invariant("scale", "stem", [1.0])
    second = first.changed(first.module, Event("one", {}, "x"), edits=(edit,), invariants=(scale,))
    third = second.changed(first.module, Event("two", {}, "y"))
    assert [event.step for event in third.history] == ["one", "two"]
    assert (third.edits, third.invariants) == ((edit,), (scale,))
    assert (first.quantized, third.quantized) == (False, True)
    assert not first.history


def test_outputs_come_by_name_without_gradients() -> None:
    model = tiny()
    two = replace(model, outputs=(model.outputs[0],))
    answer = two({"image": torch.zeros(2, 1, 8, 8)})
    assert list(answer) == ["output"]
    assert not answer["output"].requires_grad
