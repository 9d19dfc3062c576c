"""Every step behind every other: the order's rules refuse it with a reason, or it works and keeps what was won.

A step that is registered and not in `TRIALS` fails the first test: give it options there, for a network of a few
layers, and samples and steps so few that it takes no second.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, get_args

import pytest
import torch

from paring import load
from paring.core.codes import Stored
from paring.core.errors import ParingError
from paring.core.model import Model
from paring.core.step import Context, Phase, Step
from paring.core.target import Limits
from paring.load import saved
from paring.recipes import order
from paring.recipes.recipe import Lines
from paring.steps import STEPS, keep_invariants
from paring.testing.models import TinyTask

TRAIN: dict[str, Any] = {"steps": 2, "batch_size": 8, "learning_rate": 0.001}
LONGER = {**TRAIN, "steps": 4}
CALIBRATION = {"calibration": {"method": "minmax", "samples": 8}}
LAST = ["*classifier*"]


@dataclass(frozen=True)
class Trial:
    """How a step is tried.

    Attributes:
        options: of the step.
        second: options besides, where it stands behind a step of its own phase, so that something is left to it.
        attention: whether it wants a transformer.
        hybrid: options besides, where the other step wants a transformer.
    """

    options: Mapping[str, Any]
    second: Mapping[str, Any] = field(default_factory=dict)
    attention: bool = False
    hybrid: Mapping[str, Any] = field(default_factory=dict)


TRIALS: dict[str, Trial] = {
    "distill": Trial({**TRAIN, "features": ["hidden_cosine"]}),
    "distill.student": Trial({"layers": 2}, second={"layers": 1}, hybrid={"layers": [0, 2]}),
    "factorize.cp": Trial({"rank": 4, "samples": 8, "only": ["blocks.0"]}, second={"only": ["blocks.*"]}),
    "factorize.svd": Trial(
        {"rank": 4, "samples": 8, "only": ["@linear"], "keep": LAST}, second={"only": LAST, "keep": []}
    ),
    "factorize.tucker": Trial({"rank": 8, "samples": 8, "only": ["blocks.0"]}, second={"only": ["blocks.*"]}),
    "finetune": Trial(TRAIN),
    "prune.blocks": Trial({"count": 1, "samples": 8}),
    "prune.channels": Trial({"macs": 0.7, "samples": 8, "round_to": 4}),
    "prune.heads": Trial({"heads": 0.5, "feed_forward": 0.5, "samples": 8}, attention=True),
    "prune.magnitude": Trial({"sparsity": 0.5, "scope": "layer", "keep": LAST}),
    "prune.movement": Trial(
        {"sparsity": 0.5, "polynomial": {"frequency": 1}, "recover": LONGER, "keep": LAST},
        second={"layers": LAST, "keep": []},
    ),
    "prune.nm": Trial({"keep": LAST}),
    "prune.rigl": Trial(
        {"sparsity": 0.5, "frequency": 1, "recover": LONGER, "keep": LAST}, second={"layers": LAST, "keep": []}
    ),
    "quantize.dynamic": Trial({"keep_float": LAST}, second={"keep_float": []}),
    "quantize.float16": Trial({"keep_float": LAST}, second={"keep_float": []}),
    "quantize.palette": Trial({"keep_float": LAST}, second={"keep_float": []}),
    "quantize.qat": Trial({**TRAIN, **CALIBRATION}),
    "quantize.static": Trial(CALIBRATION),
    "quantize.weights": Trial({"keep_float": LAST}, second={"keep_float": []}),
}
PAIRS = [(first, second) for first in STEPS.names() for second in STEPS.names()]
TYPES = frozenset({"float32", "int8", "int4", "int16"})
STORED = frozenset(
    (dtype, kind, 0)
    for dtype in get_args(Stored)
    for kind in ("linear", "conv", "depthwise", "transposed", "embedding")
)
LIMITS = Limits(TYPES, TYPES, dynamic=STORED, stored=STORED)


@cache
def begun(attention: bool) -> Model:
    network = "hybrid_network" if attention else "residual_network"
    return load.open(f"torch:paring.testing.networks:{network}", shape=(1, 8, 8))


def trial(name: str) -> Trial:
    """The step's; a step that has none fails the test of the table."""
    return TRIALS.get(name, Trial({}))


def configured(name: str, behind: str = "") -> tuple[Step, Any]:
    step: Step = STEPS.load(name)()
    one = trial(name)
    own_phase = bool(behind) and STEPS.load(behind).phase is step.phase
    among_others = bool(behind) and trial(behind).attention
    more = [one.options, one.second if own_phase else {}, one.hybrid if among_others else {}]
    return step, step.Config.model_validate({key: value for part in more for key, value in part.items()})


def applied(name: str, model: Model, attention: bool, folder: Path, behind: str = "") -> Model:
    step, config = configured(name, behind)
    return step.apply(model, config, Context(TinyTask(), LIMITS, 0, begun(attention), folder / name))


@pytest.fixture(scope="module")
def after(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The model after one step; made once."""

    @cache
    def made(name: str, attention: bool) -> Model:
        return applied(name, begun(attention), attention, tmp_path_factory.mktemp("first"))

    return made


def test_every_step_has_its_options_here() -> None:
    lacking = {*STEPS.names()} - {*TRIALS}
    assert not lacking, f"add a line for each of {sorted(lacking)} to TRIALS in {Path(__file__).name}"
    assert not {*TRIALS} - {*STEPS.names()}, "a step that TRIALS names is gone"


def _marked(first: str, second: str) -> Any:
    """Training with rounding takes seconds a pair: with most steps it is left to the slow proofs; palettes, too."""
    chosen = {"prune.channels", "prune.magnitude", "factorize.svd"}
    slow = second in {"quantize.qat", "quantize.palette"} and first not in chosen
    return pytest.param(first, second, id=f"{first} then {second}", marks=[pytest.mark.slow] if slow else [])


@pytest.mark.parametrize(("first", "second"), [_marked(*pair) for pair in PAIRS])
def test_two_steps_in_a_row(first: str, second: str, after: Any, tmp_path: Path) -> None:
    placed = [order.Placed.of(*configured(first)), order.Placed.of(*configured(second, first))]
    rule = order.broken(*placed)
    if rule is not None:
        with pytest.raises(ParingError) as caught:
            order.check(placed, Lines())
        assert rule.reason in caught.value.problem
        assert caught.value.remedy.startswith(("this order: ", "leave "))
        return
    attention = trial(first).attention or trial(second).attention
    before = after(first, attention)
    found = applied(second, before, attention, tmp_path, behind=first)
    held = keep_invariants(found)
    if STEPS.load(second).phase is not Phase.STRUCTURE:  # which may take a layer out, with all that was won in it
        assert all(held.get(kind, 0) >= count for kind, count in keep_invariants(before).items())
    assert [event.step for event in found.history] == [first, second]
    again = saved.load(saved.save(found, tmp_path / "model.safetensors"))
    keep_invariants(again)
    inputs = next(iter(TinyTask().batches("test", 4))).inputs
    for name, answer in found(inputs).items():
        assert torch.isfinite(answer).all()
        assert torch.equal(again(inputs)[name], answer)


@pytest.mark.parametrize("name", [name for name in STEPS.names() if STEPS.load(name).phase is not Phase.QUANTIZATION])
@pytest.mark.parametrize("fixed", ["quantize.static", "quantize.weights"])
def test_without_a_recipe_too_nothing_changes_weights_that_are_fixed(
    fixed: str, name: str, after: Any, tmp_path: Path
) -> None:
    """The rules of a recipe do not stand between a step and who calls it from Python."""
    attention = trial(name).attention
    with pytest.raises(ParingError, match="quantized"):
        applied(name, after(fixed, attention), attention, tmp_path)
