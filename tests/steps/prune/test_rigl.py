"""`prune.rigl`: as many weights as at the start, but not the same ones."""

from dataclasses import replace
from functools import partial
from itertools import pairwise
from math import prod
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from paring.core.errors import ParingError
from paring.core.model import Model
from paring.core.step import Context, Step, StepConfig
from paring.core.target import Limits
from paring.steps import keep_invariants
from paring.steps.prune.rigl import PruneRigl, RiglConfig, staying
from paring.steps.prune.sparsity.growth import DropAndGrow
from paring.testing.models import TinyTask, tiny
from paring.testing.steps import StepContract
from paring.train import loop

RECOVER = {"steps": 12, "batch_size": 16, "learning_rate": 0.05}


def config(**options: object) -> RiglConfig:
    return RiglConfig.model_validate({"sparsity": 0.5, "frequency": 3, "recover": RECOVER, **options})


@pytest.fixture
def context(tmp_path: Path) -> Context:
    every = frozenset({"float32"})
    return Context(TinyTask(), Limits(every, every), 0, tiny(), tmp_path)


class TestPruneRigl(StepContract):
    @pytest.fixture
    def step(self) -> Step:
        return PruneRigl()

    @pytest.fixture
    def config(self) -> StepConfig:
        return config()


SHAPES = st.dictionaries(
    st.text("abc", min_size=1, max_size=3), st.lists(st.integers(1, 12), min_size=2, max_size=4).map(tuple), min_size=1
)


@given(SHAPES, st.floats(0.05, 0.95), st.sampled_from(["erk", "uniform"]))
def test_the_whole_is_as_sparse_as_wanted(shapes: dict[str, tuple[int, ...]], sparsity: float, kind: str) -> None:
    found = staying(shapes, sparsity, kind)  # type: ignore[arg-type]
    assert all(0 <= found[name] <= prod(shape) for name, shape in shapes.items())
    assert abs(sum(found.values()) - (1 - sparsity) * sum(map(prod, shapes.values()))) <= 0.5 * len(shapes) + 1e-6


def test_small_layers_keep_more_by_erdos_renyi() -> None:
    shapes = {"large": (64, 64, 3, 3), "small": (8, 8, 3, 3), "depthwise": (8, 1, 3, 3)}
    found = staying(shapes, 0.9, "erk")
    assert found["depthwise"] == 72  # would be more than full
    assert found["small"] / prod(shapes["small"]) > 4 * found["large"] / prod(shapes["large"])
    assert found["small"] / found["large"] == pytest.approx((8 + 8 + 3 + 3) / (64 + 64 + 3 + 3), rel=0.01)


def masks_over_time(
    context: Context, monkeypatch: pytest.MonkeyPatch, options: RiglConfig
) -> tuple[list[dict[str, torch.Tensor]], Model]:
    found: list[dict[str, torch.Tensor]] = []
    call = DropAndGrow.__call__

    def watched(self: DropAndGrow, module: torch.nn.Module, done: int) -> None:
        call(self, module, done)
        held = self._held(module)
        assert all(bool((one.weight[~one.active] == 0).all()) for one in held)
        found.append({one.name: one.active.clone() for one in held})

    monkeypatch.setattr(DropAndGrow, "__call__", watched)
    return found, PruneRigl().apply(tiny(), options, context)


@pytest.mark.parametrize("distribution", ["erk", "uniform"])
def test_the_number_of_weights_stays_while_they_change_places(
    context: Context, monkeypatch: pytest.MonkeyPatch, distribution: str
) -> None:
    masks, result = masks_over_time(context, monkeypatch, config(distribution=distribution))
    assert len(masks) == 13
    counts = [{name: int(mask.sum()) for name, mask in one.items()} for one in masks]
    assert all(one == counts[0] for one in counts)
    moved = [any((one[name] != two[name]).any() for name in one) for one, two in pairwise(masks)]
    assert [step for step, change in enumerate(moved, 1) if change] == [3, 6]  # and none from 0.75 · 12 = 9 on
    assert {one.layer: one.value["zeros"] for one in result.invariants} == {
        name: pytest.approx(1 - count / masks[0][name].numel()) for name, count in counts[0].items()
    }
    keep_invariants(result)


def test_the_smallest_go_and_come_where_the_gradient_is_largest() -> None:
    module = torch.nn.Linear(8, 1, bias=False)
    module.weight.data = torch.tensor([[4.0, 3.0, 2.0, 1.0, 0.5, 0.0, 0.0, 0.0]])
    growth = DropAndGrow({"weight": module.weight != 0}, 0.8, 1, 2, "here", "")
    growth.attach(module, config())
    growth(module, 1)  # without a gradient: a process that goes on
    assert module.get_buffer("_mask_0").tolist() == [[1, 1, 1, 1, 1, 0, 0, 0]]
    module.weight.grad = torch.tensor([[0.0, 0.0, 0.0, 0.9, 0.0, -0.3, 0.2, 0.1]])
    module.weight.data[0, 5:] = 9.0  # the optimizer moved what is masked
    growth(module, 1)  # 0.8 / 2 · (1 + cos(π / 2)) · 5 = 2 are exchanged
    assert module.weight.tolist() == [[4.0, 3.0, 2.0, 1.0, 0.0, 0.0, 0.0, 0.0]]  # one of those dropped is back
    assert growth.detach(module)["weight"].tolist() == [[True] * 4 + [False, True] + [False] * 2]


def test_killed_it_goes_on_to_the_same_bits(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = PruneRigl().apply(tiny(), config(), replace(context, directory=context.directory / "whole"))
    fits = loop.fit
    for stop in (2, 3, 6):  # before an exchange, and right after two of them

        def killed(*args: object, stop: int = stop, **rest: object) -> None:
            fits(*args, **rest, until=lambda step: step == stop)  # type: ignore[arg-type]
            raise KeyboardInterrupt

        monkeypatch.setattr("paring.train.recovery.fit", killed)
        with pytest.raises(KeyboardInterrupt):
            PruneRigl().apply(tiny(), config(), context)
    done: list[int] = []
    monkeypatch.setattr("paring.train.recovery.fit", partial(fits, until=lambda step: bool(done.append(step))))
    state = PruneRigl().apply(tiny(), config(), context).module.state_dict()
    assert done == [7, 8, 9, 10, 11, 12]
    assert all(torch.equal(tensor, state[name]) for name, tensor in whole.module.state_dict().items())


def test_a_training_without_an_exchange_is_refused(context: Context) -> None:
    with pytest.raises(ParingError, match="after 9 steps, the last before step 9"):
        PruneRigl().apply(tiny(), config(frequency=9), context)


def test_a_layer_without_weights_is_refused(context: Context) -> None:
    with pytest.raises(ParingError, match=r"no weight of .* would be left"):
        PruneRigl().apply(tiny(), config(sparsity=0.995, distribution="uniform"), context)
