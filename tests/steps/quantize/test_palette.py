"""`quantize.palette`: the weights of a layer are values of a table."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from paring.core.codes import Codes
from paring.core.errors import ParingError
from paring.core.model import Model
from paring.core.step import Context, Step
from paring.core.target import Limits
from paring.measure.accuracy import sqnr
from paring.steps.quantize.lowbit import codes_hold
from paring.steps.quantize.palette import PaletteConfig, QuantizePalette, nearest, table_of
from paring.targets.litert import LiteRT
from paring.testing.models import TinyTask
from paring.testing.steps import StepContract

NUMBERS = st.floats(-100, 100, width=32)


class TestQuantizePalette(StepContract):
    @pytest.fixture
    def step(self) -> Step:
        return QuantizePalette()

    def test_each_layer_has_a_table_of_its_own(self, result: Model) -> None:
        tables = {one.layer: Codes.from_json(one.value).table for one in result.invariants}
        assert set(tables) == {"stem.0", "body.0", "classifier"}
        (skipped,) = result.history[-1].skipped
        assert (skipped.layer, skipped.reason) == ("body.3", "it has 64 weights, and its table would have 64")
        for layer, table in tables.items():
            weight = result.module.get_submodule(layer).get_parameter("weight").detach().numpy()
            assert set(weight.reshape(-1).tolist()) <= set(table)
            assert len(table) <= 64
            assert list(table) == sorted(set(table))

    def test_more_bits_answer_closer(self, model: Model, context: Context) -> None:
        inputs = next(iter(TinyTask().batches("test", 48))).inputs
        wanted = model(inputs)["output"].numpy()
        found = [
            sqnr(wanted, QuantizePalette().apply(model, PaletteConfig(bits=bits), context)(inputs)["output"].numpy())
            for bits in (4, 6)
        ]
        assert 15 < found[0] < found[1]

    def test_a_weight_beside_its_table_is_noticed(self, result: Model) -> None:
        import copy

        changed = replace(result, module=copy.deepcopy(result.module))
        changed.module.get_submodule("classifier").get_parameter("weight").data[0] += 1e-3
        (broken,) = [one for one in result.invariants if codes_hold(changed, one)]
        assert broken.layer == "classifier"
        assert "palette6 codes" in str(codes_hold(changed, broken))

    def test_a_file_without_tables_is_not_written(self, result: Model, tmp_path: Path) -> None:
        with pytest.raises(ParingError, match="tables of weights"):
            LiteRT().export(result, tmp_path / "m.tflite")
        assert not list(tmp_path.glob("*.tflite"))

    def test_a_target_without_palettes_is_told(self, model: Model, context: Context) -> None:
        limits = Limits(frozenset(), frozenset(), stored=frozenset({("int8", "linear", 0)}))
        with pytest.raises(ParingError, match="cannot execute palette6 weights"):
            QuantizePalette().apply(model, PaletteConfig(), replace(context, limits=limits))


@given(arrays.arrays(np.float32, st.integers(2, 200), elements=NUMBERS), st.sampled_from([4, 6]))
def test_the_nearest_value_is_taken_and_zeros_stay(weight: np.ndarray, bits: int) -> None:  # type: ignore[type-arg]
    table = table_of(weight, bits)
    assert len(table) <= 2**bits
    found = nearest(weight, table)
    assert not found[weight == 0].any()
    best = np.abs(weight[:, None].astype(np.float64) - table).min(1)
    np.testing.assert_allclose(np.abs(weight.astype(np.float64) - found), best, atol=1e-5)
    np.testing.assert_array_equal(nearest(found, table), found)
    codes = Codes(f"palette{bits}", table=tuple(table.tolist())).of(found)  # type: ignore[arg-type]
    assert codes is not None
    np.testing.assert_array_equal(table[codes], found)


def test_few_values_are_kept_as_they_are() -> None:
    weight = np.array([[0.5, -0.25], [0.5, 0.0]], np.float32)
    np.testing.assert_array_equal(table_of(weight, 4), np.array([-0.25, 0.0, 0.5], np.float32))


def test_k_means_finds_the_clusters() -> None:
    centers = np.linspace(-1, 1, 16)
    weight = (centers[:, None] + np.random.default_rng(0).normal(scale=1e-3, size=(16, 50))).astype(np.float32)
    np.testing.assert_allclose(table_of(weight, 4), centers, atol=1e-3)
