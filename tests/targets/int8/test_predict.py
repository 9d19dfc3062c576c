"""What a float model's full-int8 file will hold, beside what it holds."""

from collections import Counter
from collections.abc import Callable

import pytest
from torch import nn

from paring.core.model import Model
from paring.steps.quantize import annotate
from paring.steps.quantize.rewrites import RULES
from paring.targets.int8.look import file_of, look
from paring.targets.int8.operators import of_file
from paring.targets.int8.predict import COMPUTES, FLOATS, LOWERED, MOVES, predicted
from paring.testing.int8 import activated, flattened, made, model, sine_and_squeeze
from paring.testing.models import quantized, tiny


@pytest.mark.parametrize("build", [sine_and_squeeze, flattened, activated])
def test_the_operators_are_those_of_the_file(build: Callable[[], Model]) -> None:
    given = build()
    held = of_file(file_of(made(given)))
    wanted = Counter((one.name, one.dtype, one.image) for one in held)
    assert Counter((one.name, one.dtype, one.image) for one in predicted(given)) == wanted


def test_windows_are_those_of_the_file() -> None:
    def windows(operators: object) -> list[object]:
        named = {"CONV_2D", "DEPTHWISE_CONV_2D", "MEAN"}
        return [
            (one.name, one.image, one.kernel, one.stride, one.padding, one.axes)
            for one in operators  # type: ignore[attr-defined]
            if one.name in named
        ]

    assert windows(predicted(tiny())) == windows(of_file(file_of(quantized())))


def test_the_table_knows_what_quantization_makes_integers_of() -> None:
    def names(*tables: object) -> set[str]:
        return {one._opname for table in tables for one in table}  # type: ignore[attr-defined]

    computed = names(
        annotate.WEIGHTED, annotate.FUSED, annotate.COMPUTED, annotate.JOINED, annotate.PICKED, annotate.FIXED
    )
    moved = names(annotate.MOVED)
    rewritten = names(RULES)
    rewritten |= {f"{name}_" for name in rewritten}  # in place, which a captured graph does not keep
    known = {how: {name for name, (_, one) in LOWERED.items() if one == how} for how in (COMPUTES, MOVES, FLOATS)}
    assert known[COMPUTES] - rewritten == computed - rewritten
    assert known[MOVES] - rewritten == moved - rewritten
    assert not known[FLOATS] & (computed | moved)


def test_a_model_is_looked_at_once() -> None:
    given = tiny()
    assert look(given) is look(given)


def test_an_operator_that_the_table_lacks_is_expected_in_float() -> None:
    found = predicted(model(nn.Flatten(), nn.LayerNorm(192), nn.Linear(192, 5)))
    assert ("layer_norm", "float32") in {(one.name, one.dtype) for one in found}
