"""`prune.magnitude`: the smallest weights become 0, at once, in rounds or on a schedule, and stay 0."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError

from paring.core.errors import ParingError, UnknownName
from paring.core.model import Invariant, Model
from paring.core.step import Context, Step, StepConfig
from paring.core.target import Limits
from paring.steps import keep_invariants
from paring.steps.prune.magnitude import MagnitudeConfig, PruneMagnitude
from paring.steps.prune.sparsity.gradual import Gradual
from paring.testing.models import TinyTask, tiny
from paring.testing.steps import StepContract
from paring.train import loop, recovery

ALL = ("stem.0.weight", "body.0.weight", "body.3.weight", "classifier.weight")
SHORT = {"steps": 12, "batch_size": 16, "learning_rate": 0.05}
SCHEDULE = {"begin": 2, "end": 9, "frequency": 3}


def config(**options: object) -> MagnitudeConfig:
    return MagnitudeConfig.model_validate({"sparsity": 0.5, "scope": "layer", **options})


def zeros(model: Model, name: str) -> int:
    return int((model.module.get_parameter(name) == 0).sum())


@pytest.fixture
def context(tmp_path: Path) -> Context:
    every = frozenset({"float32", "int8"})
    return Context(TinyTask(), Limits(every, every), 0, tiny(), tmp_path / "work")


class TestPruneMagnitude(StepContract):
    @pytest.fixture
    def step(self) -> Step:
        return PruneMagnitude()

    @pytest.fixture(
        params=[
            {},
            {"iterative": {"rounds": 2}, "recover": {**SHORT, "steps": 2}, "scope": "global"},
            {"polynomial": SCHEDULE, "recover": SHORT, "regrow": True},
        ],
        ids=["one-shot", "iterative", "regrow"],
    )
    def config(self, request: pytest.FixtureRequest) -> StepConfig:
        return config(**request.param)


def test_the_share_is_exact_in_each_layer_and_the_largest_stay(context: Context) -> None:
    model, result = tiny(), PruneMagnitude().apply(tiny(), config(sparsity=0.7), context)
    assert {one.layer: one.value for one in result.invariants} == {
        "stem.0.weight": {"zeros": 50 / 72},
        "body.0.weight": {"zeros": 50 / 72},
        "body.3.weight": {"zeros": 45 / 64},
        "classifier.weight": {"zeros": 56 / 80},
    }
    for name in ALL:
        before, after = model.module.get_parameter(name), result.module.get_parameter(name)
        assert before[after == 0].abs().max() <= before[after != 0].abs().min()
        assert torch.equal(after[after != 0], before[after != 0])
    assert result.history[-1].changed == "69.8 % of 288 weights in 4 layers are 0"
    assert torch.equal(result.module.body[3].bias, model.module.body[3].bias)


def test_one_threshold_for_all_takes_more_of_small_weights(context: Context) -> None:
    assert MagnitudeConfig(sparsity=0.5).scope == "global"  # depthwise layers bear less than others
    model = tiny()
    model.module.body[3].weight.data *= 0.5
    result = PruneMagnitude().apply(model, config(scope="global"), context)
    assert sum(zeros(result, name) for name in ALL) == 144
    assert zeros(result, "body.3.weight") > 40
    kept = [one[one != 0].abs().min() for one in map(result.module.get_parameter, ALL)]
    gone = [
        model.module.get_parameter(name)[result.module.get_parameter(name) == 0].abs().max()
        for name in ALL
        if zeros(result, name)
    ]
    assert max(gone) <= min(kept)


def test_layers_are_chosen_and_those_left_are_named(context: Context) -> None:
    result = PruneMagnitude().apply(tiny(), config(layers=("body", "@last"), keep=("@depthwise",)), context)
    assert [one.layer for one in result.invariants] == ["body.3.weight", "classifier.weight"]
    assert {one.layer: one.reason for one in result.history[-1].skipped} == {
        "stem.0": "not among the layers that the recipe names",
        "body.0": "kept as it is, as the recipe asks",
    }
    for options in ({"layers": ("clasifier",)}, {"keep": ("@linaer",)}):
        with pytest.raises(UnknownName, match=r"clasifier|linaer"):
            PruneMagnitude().apply(tiny(), config(**options), context)
    with pytest.raises(ParingError, match="no layer is left to prune"):
        PruneMagnitude().apply(tiny(), config(keep=("*",)), context)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"sparsity": 0.0}, "greater than 0"),
        ({"sparsity": 1.0}, "less than 1"),
        ({"iterative": {"rounds": 2}}, "give recover"),
        ({"polynomial": {}}, "give recover"),
        ({"polynomial": {}, "iterative": {}, "recover": {}}, "one of them"),
        ({"regrow": True}, "give polynomial"),
        ({"polynomial": {"begin": 5, "end": 5}, "recover": {}}, "before its begin"),
        ({"polynomial": {"initial": 0.6}, "recover": {}}, "more than sparsity"),
    ],
)
def test_what_contradicts_itself_is_refused(options: dict[str, object], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        config(**options)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"sparsity": 0.995}, r"no weight of stem\.0, body\.0, body\.3 would be left"),
        ({"sparsity": 0.5, "scope": "global"}, r"no weight of body\.0 would be left"),
        ({"sparsity": 0.995, "polynomial": SCHEDULE, "recover": SHORT}, "no weight of"),
        (
            {"scope": "global", "polynomial": SCHEDULE, "recover": {**SHORT, "learning_rate": 1e-6}},
            r"no weight of body\.0 would",
        ),
        ({"polynomial": {"end": 13}, "recover": SHORT}, "to step 13, the training has 12"),
        ({"polynomial": {"begin": 9}, "recover": SHORT}, "from step 9 to step 8"),
        ({"polynomial": SCHEDULE, "recover": {**SHORT, "keep": "best"}}, "best epoch"),
        ({"polynomial": SCHEDULE, "recover": {**SHORT, "ema": 0.9}}, "moving average"),
    ],
)
def test_what_cannot_be_is_refused_before_any_harm(context: Context, options: dict[str, object], told: str) -> None:
    model = tiny()
    if options.get("scope") == "global":
        model.module.body[0].weight.data *= 1e-3
    with pytest.raises(ParingError, match=told):
        PruneMagnitude().apply(model, config(**options), context)


def test_weights_without_a_size_are_refused(context: Context) -> None:
    model = tiny()
    model.module.body[3].weight.data[0, 0] = torch.nan
    with pytest.raises(ParingError, match=r"body\.3\.weight holds NaN"):
        PruneMagnitude().apply(model, config(), context)


def shares(context: Context, monkeypatch: pytest.MonkeyPatch, **options: object) -> tuple[list[float], Model, int]:
    """The share of zeros in a layer after each step, the result, and how many weights have come back."""
    fits, found, back = loop.fit, list[float](), [0]
    was = torch.zeros(64, dtype=torch.bool)

    def watched(*args: object, between_steps: object, **rest: object) -> object:
        def between(module: torch.nn.Module, done: int) -> None:
            between_steps(module, done)  # type: ignore[operator]
            zero = module.get_parameter("body.3.weight").detach().flatten() == 0
            found.append(float(zero.float().mean()))
            back[0] += int((was & ~zero).sum())
            was.copy_(zero)

        return fits(*args, between_steps=between, **rest)

    monkeypatch.setattr("paring.train.recovery.fit", watched)
    result = PruneMagnitude().apply(tiny(), config(polynomial=SCHEDULE, recover=SHORT, **options), context)
    return found, result, back[0]


def test_the_schedule_is_followed_step_by_step(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    found, result, back = shares(context, monkeypatch, sparsity=0.75)

    def after(step: int) -> float:
        return round(64 * (0.75 - 0.75 * (1 - (step - 2) / 7) ** 3)) / 64

    wanted = [0.0] * 5 + [after(5)] * 3 + [after(8)] + [0.75] * 4  # 0 at step 2, the last at 9
    assert found == wanted
    assert back == 0
    assert zeros(result, "body.3.weight") == 48
    keep_invariants(result)


def test_weights_come_back_while_the_schedule_runs(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    found, result, back = shares(context, monkeypatch, regrow=True)
    assert found[-4:] == [0.5] * 4
    assert back > 0
    assert zeros(result, "body.3.weight") == 32
    assert not [name for name, _ in result.module.named_buffers() if "_mask" in name or "dense" in name]


@pytest.mark.parametrize("regrow", [False, True])
def test_a_large_step_brings_a_weight_back_only_where_it_may(regrow: bool) -> None:
    options = config(polynomial={"begin": 0, "end": 2, "frequency": 1}, recover=SHORT, regrow=regrow)
    assert options.polynomial is not None
    module = torch.nn.Linear(4, 1, bias=False)
    module.weight.data = torch.tensor([[4.0, 3.0, 2.0, 1.0]])
    gradual = Gradual(module, ["weight"], options, options.polynomial, 2, "here", "")
    gradual.attach(module, options)
    gradual(module, 1)  # 0.5 − 0.5 · 0.5³ = 0.4375 of 4
    assert module.weight.tolist() == [[4.0, 3.0, 0.0, 0.0]]
    gradual(module, 1)  # of a process that goes on
    assert module.weight.tolist() == [[4.0, 3.0, 0.0, 0.0]]
    module.weight.data += torch.tensor([[0.0, 0.0, 0.5, 9.0]])  # a step of the optimizer
    gradual(module, 2)
    assert module.weight.tolist() == [[4.0, 0.0, 0.0, 10.0] if regrow else [4.0, 3.0, 0.0, 0.0]]


def test_rounds_take_the_same_share_of_what_is_left(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    recover = recovery.recover

    def watched(model: Model, *args: object, **rest: object) -> object:
        asked.append(zeros(model, "body.3.weight"))
        return recover(model, *args, **rest)  # type: ignore[arg-type]

    monkeypatch.setattr(recovery, "recover", watched)
    options = {"iterative": {"rounds": 2}, "recover": {**SHORT, "steps": 2}}
    result = PruneMagnitude().apply(tiny(), config(sparsity=0.75, **options), context)
    assert asked == [32, 48]
    assert result.history[-1].changed.count("2 steps, ") == 2
    assert [one.value for one in result.invariants] == [{"zeros": 0.75}] * 4
    keep_invariants(result)


@pytest.mark.parametrize("options", [{}, {"regrow": True}, {"scope": "global"}])
def test_killed_it_goes_on_to_the_same_bits(
    context: Context, monkeypatch: pytest.MonkeyPatch, options: dict[str, object]
) -> None:
    recover = {**SHORT, "optimizer": "adamw", "learning_rate": 0.01, "weight_decay": 0.1}
    long = config(polynomial=SCHEDULE, recover=recover, **options)
    whole = PruneMagnitude().apply(tiny(), long, replace(context, directory=context.directory / "whole"))
    fits = loop.fit
    for stop in (4, 6, 8):  # before the first zeros, between two changes, and at one
        stopped = partial(fits, until=lambda step, stop=stop: step == stop)

        def killed(*args: object, fit: object = stopped, **rest: object) -> None:
            fit(*args, **rest)  # type: ignore[operator]
            raise KeyboardInterrupt

        monkeypatch.setattr("paring.train.recovery.fit", killed)
        with pytest.raises(KeyboardInterrupt):
            PruneMagnitude().apply(tiny(), long, context)
    done: list[int] = []
    monkeypatch.setattr("paring.train.recovery.fit", partial(fits, until=lambda step: bool(done.append(step))))
    again = PruneMagnitude().apply(tiny(), long, context)
    assert done == [9, 10, 11, 12]
    state = again.module.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in whole.module.state_dict().items())


def test_other_options_begin_anew(context: Context) -> None:
    PruneMagnitude().apply(tiny(), config(polynomial=SCHEDULE, recover=SHORT), context)
    other = PruneMagnitude().apply(tiny(), config(sparsity=0.25, polynomial=SCHEDULE, recover=SHORT), context)
    assert zeros(other, "body.3.weight") == 16


def test_zeros_of_an_earlier_step_stay_where_weights_come_back(context: Context) -> None:
    first = PruneMagnitude().apply(tiny(), config(layers=("body.3",)), context)
    then = config(polynomial=SCHEDULE, recover=SHORT, regrow=True)
    second = PruneMagnitude().apply(first, then, context)
    assert [one.layer for one in second.invariants].count("body.3.weight") == 1
    assert "sparse already" in {one.layer: one.reason for one in second.history[-1].skipped}["body.3"]
    keep_invariants(second)
    assert torch.equal(first.module.body[3].weight == 0, second.module.body[3].weight == 0)


def test_a_lost_zero_breaks_the_invariant(context: Context) -> None:
    result = PruneMagnitude().apply(tiny(), config(), context)
    result.module.body[3].weight.data.flatten()[result.module.body[3].weight.flatten() == 0] = 1.0
    with pytest.raises(ParingError, match=r"body\.3\.weight: had 50\.0 % of zeros, and has 0\.0 % now"):
        keep_invariants(result)
    gone = replace(tiny(), invariants=(Invariant("sparsity", "no.weight", {"zeros": 0.5}),), history=result.history)
    with pytest.raises(ParingError, match=r"no\.weight: is gone"):
        keep_invariants(gone)
