"""The conditions of an accelerator's rules."""

import pytest

from paring.targets.int8.operators import Operator
from paring.targets.int8.rules import Rule, Rules, left


def reason(rule: Rule, **given: object) -> str | None:
    return Rules(source="a test", unit="it", operators={"X": rule}).reason(Operator("X", "a", **given))  # type: ignore[arg-type]


def grown(before: tuple[int, int], after: tuple[int, int]) -> dict[str, object]:
    return {"image": (1, *before, 1), "output": (1, *after, 1)}


@pytest.mark.parametrize(
    ("rule", "breaks", "keeps"),
    [
        (Rule(stride=3), {"stride": (1, 4)}, {"stride": (3, 3)}),
        (Rule(stride=3, longer=True), {"stride": (4, 4), "padding": "SAME"}, {"stride": (4, 4), "padding": "VALID"}),
        (Rule(kernel=8), {"kernel": (9, 1), "padding": "SAME"}, {"kernel": (9, 1), "padding": "VALID"}),
        (Rule(area=9), {"kernel": (4, 3)}, {"kernel": (3, 3)}),
        (Rule(height=4), {"kernel": (5, 1)}, {"kernel": (1, 5)}),
        (Rule(strides=(1, 2)), {"stride": (2, 1)}, {"stride": (2, 2)}),
        (Rule(depth=8), {"image": (1, 2, 2, 9)}, {"image": (1, 9, 9, 8)}),
        (Rule(plane=16), {"image": (1, 4, 4, 1)}, {"image": (1, 3, 5, 9)}),
        (Rule(elements=10), {"image": (1, 11)}, {"image": (1, 10)}),
        (Rule(vector=True), {"image": (1, 2, 5)}, {"image": (1, 1, 1, 5)}),
        (Rule(batch=False), {"image": (2, 3, 3, 1)}, {"image": (1, 3, 3, 1), "axes": (1, 2)}),
        (Rule(batch=False), {"image": (1, 3, 3, 1), "axes": (0, 1)}, {"image": (1, 3, 3, 1), "axes": (1,)}),
        (Rule(reduced=5), {"image": (1, 5, 1, 1), "axes": (1,)}, {"image": (1, 4, 9, 9), "axes": (1,)}),
        (Rule(channels="flat"), {"image": (1, 2, 2, 2), "axes": (3,)}, {"image": (1, 1, 2, 2), "axes": (3,)}),
        (Rule(channels="of four"), {"image": (1, 2, 2, 6), "axes": (3,)}, {"image": (1, 2, 2, 8), "axes": (3,)}),
        (Rule(fused=False), {"fused": "RELU"}, {}),
        (Rule(dilation=True), {"dilation": (1, 2)}, {"dilation": (2, 2)}),
        (Rule(scales=(2, 4)), grown((2, 2), (6, 6)), grown((2, 2), (4, 4))),
        (Rule(scales=(2, 4)), grown((2, 2), (4, 8)), grown((1, 1), (7, 7))),
    ],
)  # fmt: skip
def test_each_condition(rule: Rule, breaks: dict[str, object], keeps: dict[str, object]) -> None:
    assert reason(rule, **breaks)
    assert reason(rule, **keeps) is None


def test_what_is_not_named_and_floats_do_not_run() -> None:
    rules = Rules(source="a test", unit="it", operators={"X": Rule()})
    assert rules.reason(Operator("Y", "a")) == "it has no Y"
    assert "in float" in str(rules.reason(Operator("X", "a", "float32")))


def test_a_layer_is_told_once_for_each_reason() -> None:
    ones = [Operator("LOGISTIC", "act", source="aten.silu.default"), Operator("MUL", "act", source="aten.silu.default")]
    (told,) = left([(one, "for some reason") for one in (*ones, Operator("QUANTIZE", "act"))])
    assert told.problem == "LOGISTIC and MUL (of aten.silu.default) on the processor: for some reason"
    assert told.severity == "slow"
