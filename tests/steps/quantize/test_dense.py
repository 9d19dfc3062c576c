"""Dense layers with one scale for all channels: where it loses nothing, and nowhere else."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from paring.core.model import Model, Source, TensorSpec
from paring.core.step import Context
from paring.core.target import Limits
from paring.load import probe
from paring.steps.quantize import fixed
from paring.steps.quantize.dense import compensated
from paring.steps.quantize.static import QuantizeStatic, StaticConfig
from paring.testing.repairs import EVERY, Images, network

LIMITS = Limits(EVERY, EVERY, costly_scales=frozenset({"linear"}))
PLAIN = Limits(EVERY, EVERY)
SHAPE = (40,)


def samples(count: int, seed: int) -> Tensor:
    """Of inputs that depend on each other, as those of real data do."""
    mixing = torch.randn(12, *SHAPE, generator=torch.Generator().manual_seed(99))
    return torch.randn(count, 12, generator=torch.Generator().manual_seed(seed)) @ mixing


def dense() -> nn.Sequential:
    made = network(nn.Linear(40, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 6))
    assert isinstance(made, nn.Sequential)
    return made


def unlike(module: nn.Sequential) -> nn.Sequential:
    """One channel of the second layer is forty times as large as the others."""
    with torch.no_grad():
        module[2].weight[0].mul_(40)  # type: ignore[operator, index, union-attr]
    return module


def quantized(module: nn.Module, folder: Path, limits: Limits = LIMITS, seen: int = 64, **options: Any) -> Model:
    model = probe.model(module.eval(), Source("test"), (TensorSpec("image", ("batch", *SHAPE)),))
    config = StaticConfig.model_validate({"calibration": {"samples": seen}, **options})
    return QuantizeStatic().apply(model, config, Context(Images(samples(seen, 1)), limits, 0, model, folder))


def scales(model: Model) -> dict[str, int]:
    """Layer -> how many scales its weight has."""
    return {one.layer: len(one.value) for one in model.invariants if one.kind == "scale"}


def noise(model: Model, module: nn.Module) -> float:
    """Energy of the error of the answers to samples that were not shown."""
    x = samples(512, 2)
    with torch.no_grad():
        return float((model({"image": x})["output"] - module(x)).square().mean())


def test_layers_take_one_scale_and_answer_no_worse(tmp_path: Path) -> None:
    module = dense()
    found = quantized(module, tmp_path)
    assert scales(found) == {"0": 1, "2": 1, "4": 1}
    assert "one scale for the weight of 3 of 3 dense layers" in found.history[-1].changed
    by_channel = noise(quantized(module, tmp_path, granularity="channel"), module)
    assert noise(found, module) < 1.02 * by_channel
    assert noise(quantized(module, tmp_path, granularity="tensor"), module) > by_channel  # nearest codes lose


def test_a_layer_of_unlike_channels_keeps_a_scale_for_each(tmp_path: Path) -> None:
    found = quantized(unlike(dense()), tmp_path)
    assert scales(found) == {"0": 1, "2": 48, "4": 1}
    assert "2 of 3 dense layers" in found.history[-1].changed


@pytest.mark.parametrize(
    ("limits", "options", "kept"),
    [
        (PLAIN, {}, {"0", "2", "4"}),
        (LIMITS & PLAIN, {}, {"0", "2", "4"}),
        (LIMITS, {"granularity": "channel"}, {"0", "2", "4"}),
        (LIMITS, {"layers": {"2": {"granularity": "channel"}}}, {"2"}),
        (PLAIN, {"layers": {"2": {"granularity": "tensor"}}}, {"0", "4"}),
        (LIMITS, {"layers": {"2": {"weights": "int4"}}}, {"2"}),
    ],
    ids=["no need", "another target", "as asked", "one as asked", "one shared as asked", "four bits"],
)
def test_scales_stay_where_nothing_asks_for_less(
    limits: Limits, options: dict[str, Any], kept: set[str], tmp_path: Path
) -> None:
    found = quantized(dense(), tmp_path, limits, **options)
    assert {layer for layer, count in scales(found).items() if count > 1} == kept


def test_a_layer_of_fine_sums_keeps_what_it_needs(tmp_path: Path) -> None:
    """Sums of sixteen bits show errors that eight bits hide."""
    assert scales(quantized(dense(), tmp_path, activations="int16"))["2"] > 1


def test_a_single_sample_judges_nothing(tmp_path: Path) -> None:
    assert min(scales(quantized(dense(), tmp_path, seen=1)).values()) > 1


def test_a_weight_that_two_layers_share_keeps_its_scales(tmp_path: Path) -> None:
    module = dense()
    module[4] = nn.Linear(48, 48)
    module[4].weight = module[2].weight
    found = scales(quantized(module, tmp_path))
    assert found == {"0": 1, "2": 48}


def test_what_is_saved_answers_to_the_same_bits(tmp_path: Path) -> None:
    found = quantized(unlike(dense()), tmp_path)
    (edit,) = [one for one in found.edits if one.name == fixed.EDIT]
    again = fixed.replay(probe.model(dense(), Source("test"), found.inputs), edit.data)
    again.load_state_dict(found.module.state_dict())
    x = samples(8, 3)
    with torch.no_grad():
        assert torch.equal(again(x), found.module(x))


def test_a_repair_that_learns_rounding_starts_from_weights_that_are_not_rounded(tmp_path: Path) -> None:
    module = dense()
    found = quantized(module, tmp_path, repairs=[{"adaround": {"iterations": 300}}])
    assert scales(found) == {"0": 1, "2": 1, "4": 1}
    assert noise(found, module) < 1.1 * noise(quantized(module, tmp_path, granularity="channel"), module)


class TestCompensated:
    weight = torch.randn(6, 40, generator=torch.Generator().manual_seed(0))
    energies = samples(64, 1).double().T @ samples(64, 1).double()

    def test_sums_are_nearer_than_with_the_nearest_codes(self) -> None:
        x, scale = samples(256, 2), 0.03
        nearest = (self.weight / scale).round().clamp(-127, 127) * scale
        found = compensated(self.weight, self.energies, scale)
        errors = [((one - self.weight) @ x.T).square().mean() for one in (found, nearest)]
        assert errors[0] < 0.7 * errors[1]

    def test_it_is_on_the_grid_and_zeros_stay(self) -> None:
        weight = self.weight.clone()
        weight[:, ::3] = 0
        found = compensated(weight, self.energies, 0.03)
        assert torch.allclose(found, torch.fake_quantize_per_tensor_affine(found, 0.03, 0, -127, 127))
        assert not found[:, ::3].any()

    def test_inputs_that_are_always_zero_are_no_trouble(self) -> None:
        found = compensated(self.weight, torch.zeros(40, 40, dtype=torch.double), 0.03)
        assert torch.allclose(found, (self.weight / 0.03).round().clamp(-127, 127) * 0.03)


def test_no_target_is_made_coarser_for_the_sake_of_another() -> None:
    assert not (LIMITS & PLAIN).costly_scales
    assert (LIMITS & replace(PLAIN, costly_scales=frozenset({"linear", "conv"}))).costly_scales == {"linear"}
