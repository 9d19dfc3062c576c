"""`prune.movement`: what moves toward 0 becomes 0."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError

from paring.core.errors import ParingError
from paring.core.step import Context, Step, StepConfig
from paring.core.target import Limits
from paring.steps import keep_invariants
from paring.steps.prune.movement import MovementConfig, PruneMovement
from paring.steps.prune.sparsity.scores import Scores
from paring.testing.models import TinyTask, tiny
from paring.testing.steps import StepContract
from paring.train import loop

RECOVER = {"steps": 12, "batch_size": 16, "learning_rate": 0.02}
SCHEDULE = {"begin": 2, "end": 9, "frequency": 3}
HARD = {"sparsity": 0.5, "polynomial": SCHEDULE, "recover": RECOVER}
SOFT = {"mode": "soft", "importance_rate": 0.5, "penalty": 0.8, "polynomial": SCHEDULE, "recover": RECOVER}


def config(options: dict[str, object], **more: object) -> MovementConfig:
    return MovementConfig.model_validate({**options, **more})


@pytest.fixture
def context(tmp_path: Path) -> Context:
    every = frozenset({"float32"})
    return Context(TinyTask(), Limits(every, every), 0, tiny(), tmp_path)


class TestPruneMovement(StepContract):
    @pytest.fixture
    def step(self) -> Step:
        return PruneMovement()

    @pytest.fixture(params=[HARD, SOFT], ids=["hard", "soft"])
    def config(self, request: pytest.FixtureRequest) -> StepConfig:
        return config(request.param)


def test_as_many_become_zero_as_asked(context: Context) -> None:
    result = PruneMovement().apply(tiny(), config(HARD, sparsity=0.75), context)
    assert [one.value["zeros"] for one in result.invariants] == [0.75, 0.75, 0.75, 0.75]
    assert int((result.module.body[3].weight == 0).sum()) == 48
    assert not [name for name, _ in result.module.named_buffers() if "importance" in name or "dense" in name]
    whole = PruneMovement().apply(
        tiny(), config(HARD, scope="global"), replace(context, directory=context.directory / "b")
    )
    assert sum(one.value["zeros"] * n for one, n in zip(whole.invariants, (72, 72, 64, 80), strict=True)) == 144


def test_each_layer_finds_its_own_share_and_more_penalty_makes_more_zeros(context: Context) -> None:
    def zeros(penalty: float) -> list[float]:
        there = replace(context, directory=context.directory / str(penalty))
        result = PruneMovement().apply(tiny(), config(SOFT, penalty=penalty), there)
        keep_invariants(result)
        return [one.value["zeros"] for one in result.invariants]

    few, many = zeros(0.6), zeros(1.0)
    assert len(set(few)) > 1
    assert 0 < sum(few) < sum(many)


def step_by_hand(options: MovementConfig, weight: list[float], gradient: list[float]) -> torch.nn.Module:
    module = torch.nn.Linear(len(weight), 1, bias=False)
    module.weight.data = torch.tensor([weight])
    moving = Scores(module, ["weight"], options, 10, "here")
    moving.attach(module, options)
    module.weight.grad = torch.tensor([gradient])
    moving(module, 10)
    return module


def test_a_weight_that_moves_away_from_zero_stays_whatever_its_size() -> None:
    # gradient descent makes the first and the third larger, the second and the fourth smaller
    module = step_by_hand(config(HARD), [0.1, 5.0, -0.1, -5.0], [-1.0, 1.0, 1.0, -1.0])
    assert (module.weight != 0).tolist() == [[True, False, True, False]]
    assert module.get_buffer("_dense_0").tolist() == [pytest.approx([0.1, 5.0, -0.1, -5.0])]  # waits unchanged


def test_importance_is_what_the_equation_says() -> None:
    options = config(SOFT, penalty=0.5, importance_rate=0.1, polynomial={"begin": 0, "end": 10})
    module = step_by_hand(options, [1.0, -2.0], [3.0, 1.0])
    size = ((3.0**2 + 2.0**2) / 2) ** 0.5
    wanted = [-0.1 * (3.0 / size + 0.5), -0.1 * (-2.0 / size + 0.5)]  # λ · 4 σ′(0) = λ
    assert module.get_buffer("_importance_0").flatten().tolist() == pytest.approx(wanted)


def test_the_importance_of_a_masked_weight_is_that_of_the_weight_that_waits() -> None:
    options = config(HARD, polynomial={"begin": 0, "end": 10, "frequency": 1}, importance_rate=1.0)
    module = torch.nn.Linear(2, 1, bias=False)
    module.weight.data = torch.tensor([[1.0, 2.0]])
    moving = Scores(module, ["weight"], options, 10, "here")
    moving.attach(module, options)
    module.weight.grad = torch.tensor([[1.0, -1.0]])
    moving(module, 9)
    assert module.weight.tolist() == [[0.0, 2.0]]
    module.weight.data = torch.tensor([[7.0, 2.0]])  # the optimizer moved what is masked
    module.weight.grad = torch.tensor([[-8.0, 4.0]])
    moving(module, 10)
    assert module.weight.tolist() == [[1.0, 0.0]]
    first, second = (1.0**2 + 2.0**2) / 2, (8.0**2 + 8.0**2) / 2
    assert module.get_buffer("_importance_0").flatten().tolist() == pytest.approx(
        [-1 / first**0.5 + 8 / second**0.5, 2 / first**0.5 - 8 / second**0.5]
    )


@pytest.mark.parametrize("options", [HARD, SOFT], ids=["hard", "soft"])
def test_killed_it_goes_on_to_the_same_bits(
    context: Context, monkeypatch: pytest.MonkeyPatch, options: dict[str, object]
) -> None:
    whole = PruneMovement().apply(tiny(), config(options), replace(context, directory=context.directory / "whole"))
    fits = loop.fit
    for stop in (4, 6, 8):  # before the first zeros, between two changes, and at one

        def killed(*args: object, stop: int = stop, **rest: object) -> None:
            fits(*args, **rest, until=lambda step: step == stop)  # type: ignore[arg-type]
            raise KeyboardInterrupt

        monkeypatch.setattr("paring.train.recovery.fit", killed)
        with pytest.raises(KeyboardInterrupt):
            PruneMovement().apply(tiny(), config(options), context)
    done: list[int] = []
    monkeypatch.setattr("paring.train.recovery.fit", partial(fits, until=lambda step: bool(done.append(step))))
    state = PruneMovement().apply(tiny(), config(options), context).module.state_dict()
    assert done == [9, 10, 11, 12]
    assert all(torch.equal(tensor, state[name]) for name, tensor in whole.module.state_dict().items())


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({}, "hard takes sparsity"),
        ({"sparsity": 0.5, "penalty": 1.0}, "neither threshold nor penalty"),
        ({"mode": "soft", "sparsity": 0.5}, "finds its sparsity"),
        ({"sparsity": 0.5, "polynomial": {"initial": 0.1}}, "nothing is known"),
    ],
)
def test_what_contradicts_itself_is_refused(options: dict[str, object], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        MovementConfig.model_validate(options)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (config(SOFT, penalty=50.0), "a lower penalty"),
        (config(HARD, sparsity=0.995), "a lower sparsity"),
        (config(HARD, polynomial={"end": 20}), "the training has 12"),
        (config(HARD, recover={**RECOVER, "ema": 0.5}), "moving average"),
    ],
)
def test_what_cannot_be_is_refused(context: Context, options: MovementConfig, told: str) -> None:
    with pytest.raises(ParingError, match=told):
        PruneMovement().apply(tiny(), options, context)
