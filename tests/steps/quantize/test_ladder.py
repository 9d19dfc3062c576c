"""The accuracy floor."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from paring.core.errors import ParingError
from paring.core.model import Event, Model
from paring.core.step import Context
from paring.core.target import Limits
from paring.steps.quantize.ladder import Climb, LadderConfig, Rung, climb
from paring.steps.quantize.static import Calibration, QuantizeStatic, StaticConfig
from paring.testing.models import TinyTask, tiny
from paring.train.evaluate import evaluate


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """The tiny network, as good as it gets in a few epochs."""
    from paring.train.config import TrainConfig
    from paring.train.loop import fit

    config = TrainConfig(epochs=30, batch_size=32, learning_rate=0.1, augment=False)
    return replace(
        tiny(), module=fit(tiny(), TinyTask(), config, seed=0, directory=tmp_path_factory.mktemp("training")).module
    )


@pytest.fixture
def context(trained: Model, tmp_path: Path) -> Context:
    every = frozenset({"float32", "int8", "int4", "int16"})
    return Context(TinyTask(), Limits(every, every), 0, trained, tmp_path / "work", accuracy_drop=1.0)


def spoiled(model: Model, share: float) -> Model:
    """A model that answers at random on a share of the samples."""

    class Spoiled(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = model.module

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            answers: torch.Tensor = self.body(image).clone()
            count = round(len(answers) * share)
            answers[:count] = answers[:count].roll(1, 1)
            return answers

    return model.changed(Spoiled().eval(), Event("spoil", {}, str(share)))


def test_the_first_rung_that_holds_is_kept(trained: Model, context: Context) -> None:
    made = []

    def rungs(reached: Climb) -> Iterator[Rung]:
        for share in (0.5, 0.25, 0.0, 0.1):
            made.append(share)
            yield Rung(str(share), lambda share=share: spoiled(trained, share))

    model, reached = climb(rungs, LadderConfig(), 1.0, context)
    assert made == [0.5, 0.25, 0.0]
    assert model.history[-1].changed == "0.0"
    assert reached.holds
    assert list(reached.found) == ["0.5", "0.25", "0.0"]
    assert "0.0 holds (limit 1 pt)" in str(reached)


def test_where_none_holds_the_best_is_kept_and_told(trained: Model, context: Context) -> None:
    def rungs(reached: Climb) -> Iterator[Rung]:
        for share in (0.5, 0.25, 0.75):
            yield Rung(str(share), lambda share=share: spoiled(trained, share))

    model, reached = climb(rungs, LadderConfig(), 1.0, context)
    assert model.history[-1].changed == "0.25"
    assert not reached.holds
    assert "none holds, 0.25 is the best" in str(reached)


def test_no_rung_is_begun_after_the_time(trained: Model, context: Context) -> None:
    def rungs(reached: Climb) -> Iterator[Rung]:
        for share in (0.5, 0.0):
            yield Rung(str(share), lambda share=share: spoiled(trained, share))

    model, reached = climb(rungs, LadderConfig(minutes=1e-9), 1.0, context)
    assert model.history[-1].changed == "0.5"
    assert "stopped after" in str(reached)


def test_a_rung_that_cannot_be_tried_is_told_and_passed(trained: Model, context: Context) -> None:
    def impossible() -> Model:
        raise ParingError("no such thing", "here", "nothing")

    def rungs(reached: Climb) -> Iterator[Rung]:
        yield Rung("impossible", impossible)
        yield Rung("0.5", lambda: spoiled(trained, 0.5))

    model, reached = climb(rungs, LadderConfig(), 1.0, context)
    assert model.history[-1].changed == "0.5"
    assert "impossible could not be tried (no such thing)" in str(reached)
    with pytest.raises(ParingError, match="no such thing"):
        climb(lambda reached: iter([Rung("impossible", impossible)]), LadderConfig(), 1.0, context)


def test_a_killed_climb_goes_on_behind_the_rungs_that_were_judged(trained: Model, context: Context) -> None:
    made: list[float] = []

    def rungs(reached: Climb) -> Iterator[Rung]:
        for share in (0.25, 0.5, 0.75):

            def make(share: float = share) -> Model:
                if share == 0.75 and made.count(0.75) == 0:
                    made.append(share)
                    raise KeyboardInterrupt
                made.append(share)
                return spoiled(trained, share)

            yield Rung(str(share), make)

    with pytest.raises(KeyboardInterrupt):
        climb(rungs, LadderConfig(), 1.0, context)
    model, reached = climb(rungs, LadderConfig(), 1.0, context)
    assert made == [0.25, 0.5, 0.75, 0.75, 0.25]  # the last two again: what was cut short, and the best
    assert list(reached.found) == ["0.25", "0.5", "0.75"]
    assert model.history[-1].changed == "0.25"


def test_a_limit_without_a_validation_split_is_refused(
    trained: Model, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TinyTask, "size", lambda self, split: 0)
    with pytest.raises(ParingError, match="needs a validation split"):
        climb(lambda reached: iter([]), LadderConfig(), 1.0, context)


def test_static_quantization_climbs_where_the_recipe_limits_the_loss(trained: Model, context: Context) -> None:
    """Weights of two or three codes: only layers in float can save this one."""
    coarse = StaticConfig(weights="int4", granularity="tensor", calibration=Calibration(samples=32))
    plain = QuantizeStatic().apply(trained, coarse, replace(context, accuracy_drop=None))
    assert "ladder" not in plain.history[-1].changed
    found = QuantizeStatic().apply(trained, coarse, replace(context, accuracy_drop=0.0))
    told = found.history[-1].changed
    assert "as the recipe asks" in told
    assert "limit 0 pt" in told
    best, before = (evaluate(one, TinyTask(), "validation").accuracy for one in (found, plain))
    assert best >= before
    assert len(found.history) == len(trained.history) + 1


def test_the_ladder_can_be_left_out(trained: Model, context: Context) -> None:
    config = StaticConfig(weights="int4", calibration=Calibration(samples=32), ladder=None)
    found = QuantizeStatic().apply(trained, config, replace(context, accuracy_drop=0.0))
    assert "as the recipe asks" not in found.history[-1].changed
