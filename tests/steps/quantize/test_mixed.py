"""Mixed precision."""

from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import ValidationError

from paring.core.errors import ParingError
from paring.core.model import Model
from paring.core.step import Context
from paring.core.target import Limits
from paring.load import saved
from paring.steps.quantize.scheme import Scheme
from paring.steps.quantize.static import QuantizeStatic, StaticConfig
from paring.testing.models import TinyTask, tiny

SAMPLES = {"calibration": {"samples": 32}, "ladder": None}


@pytest.fixture
def context(tmp_path: Path) -> Context:
    kinds = frozenset({"float32", "int8", "int4"})
    return Context(TinyTask(), Limits(kinds, frozenset({"float32", "int8"})), 0, tiny(), tmp_path)


def applied(context: Context, **mixed: str) -> Model:
    config = StaticConfig.model_validate({**SAMPLES, "mixed": mixed})
    return QuantizeStatic().apply(tiny(), config, context)


def bits(model: Model) -> dict[str, str]:
    scheme = Scheme.from_json(next(edit for edit in model.edits if edit.name == "quantize").data["scheme"])
    return {layer: scheme.of(layer).weights for layer in ("stem.0", "body.0", "body.3", "classifier")}


def spent(chosen: dict[str, str]) -> float:
    """Bytes of the weights with their scales: 72, 72, 64 and 80 numbers, 8, 8, 8 and 10 scales."""
    sizes = {"stem.0": (72, 8), "body.0": (72, 8), "body.3": (64, 8), "classifier": (80, 10)}
    width = {"float32": (4.0, 0), "int8": (1.0, 4), "int4": (0.5, 4)}
    return sum(sizes[one][0] * width[kind][0] + sizes[one][1] * width[kind][1] for one, kind in chosen.items())


@pytest.mark.parametrize("limit", [1000, 700, 424, 300])
def test_a_limit_on_size_is_kept_and_used(context: Context, limit: int) -> None:
    chosen = bits(applied(context, size=f"{limit} B"))
    assert spent(chosen) <= limit
    wider = {"int4": "int8", "int8": "float32"}
    for layer, kind in chosen.items():  # no layer could be given more bits within the limit
        assert kind == "float32" or spent({**chosen, layer: wider[kind]}) > limit


def test_a_size_that_float_keeps_to_is_told(context: Context) -> None:
    with pytest.raises(ParingError, match="may stay in float"):
        applied(context, size="1 MB")


def test_a_limit_on_accuracy_gives_the_smallest_that_holds(context: Context, tmp_path: Path) -> None:
    loose = applied(context, accuracy_drop="100 pt")
    assert set(bits(loose).values()) == {"int4"}
    assert "4 layers with int4 weights" in loose.history[-1].changed
    strict = applied(context, accuracy_drop="0 pt")
    assert spent(bits(strict)) >= spent(bits(loose))
    batch = next(iter(TinyTask().batches("test", 8)))
    again = saved.load(saved.save(strict, tmp_path / "m.safetensors"))
    assert again(batch.inputs)["output"].equal(strict(batch.inputs)["output"])


def test_layers_that_the_recipe_chooses_keep_theirs(context: Context) -> None:
    config = StaticConfig.model_validate(
        {**SAMPLES, "mixed": {"size": "400 B"}, "layers": {"@last": {"weights": "int4"}}, "keep_float": ["stem*"]}
    )
    chosen = bits(QuantizeStatic().apply(tiny(), config, context))
    assert (chosen["classifier"], chosen["stem.0"]) == ("int4", "float32")


def test_a_size_that_nothing_can_meet_is_refused(context: Context) -> None:
    with pytest.raises(ParingError, match="with the fewest bits") as caught:
        applied(context, size="100 B")
    assert caught.value.where == "quantize.static: mixed: size"


def test_a_limit_on_accuracy_needs_a_validation_split(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    size = TinyTask.size
    monkeypatch.setattr(TinyTask, "size", lambda self, split: 0 if split == "validation" else size(self, split))
    with pytest.raises(ParingError, match="needs a validation split"):
        applied(context, accuracy_drop="1 pt")


def test_what_the_targets_lack_is_no_choice(context: Context) -> None:
    int8 = frozenset({"float32", "int8"})
    chosen = bits(applied(replace(context, limits=Limits(int8, int8)), accuracy_drop="100 pt"))
    assert set(chosen.values()) == {"int8"}


@pytest.mark.parametrize("mixed", [{}, {"size": "1 kB", "accuracy_drop": "1 pt"}, {"size": "1 pt"}, {"bits": 3}])
def test_one_limit_is_wanted_in_its_unit(mixed: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        StaticConfig.model_validate({"mixed": mixed})


def test_int16_activations_are_a_choice_where_they_are_asked_for(context: Context) -> None:
    wide = replace(context, limits=Limits(frozenset({"int8"}), frozenset({"int8", "int16"})))
    for options, expected in (
        ({}, {"int8"}),
        ({"activations": "int16"}, {"int16"}),
    ):  # which lose less, at the same size
        model = applied(wide, size="1 MB", **options)
        scheme = Scheme.from_json(next(edit for edit in model.edits if edit.name == "quantize").data["scheme"])
        assert {scheme.of(layer).activations for layer in ("stem.0", "body.0", "body.3", "classifier")} == expected
    loose = applied(wide, accuracy_drop="100 pt", activations="int16")
    assert "int16" not in loose.history[-1].changed  # of two equal sizes the narrower activations
