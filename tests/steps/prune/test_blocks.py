"""Whole blocks are taken out of networks."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn

from paring import load
from paring.core.errors import ParingError
from paring.core.model import Model, Source, TensorSpec
from paring.core.step import Context, Deployed
from paring.load import probe, saved
from paring.measure import cost
from paring.steps import STEPS, keep_invariants
from paring.steps.prune.blocks import BlocksConfig, PruneBlocks
from paring.steps.prune.structure import residual
from paring.targets.litert import LiteRT
from paring.testing.models import TinyTask, quantized
from paring.testing.networks import see_data
from paring.testing.steps import StepContract
from paring.testing.transformers import FAMILIES, Drawn, drawn, family

FREE = ["stages.0.0", "stages.0.1", "stages.0.2", "stages.1.1", "stages.1.2", "stages.2.1", "stages.2.2"]
SIZES = {"num_channels": 1, "embedding_size": 8, "hidden_sizes": [8, 16], "depths": [2, 2]}
NETS = {
    "resnet": {**SIZES, "layer_type": "basic"},
    "regnet": {**SIZES, "groups_width": 4},
    "convnext": {**SIZES, "num_stages": 2},
    "mobilenet_v2": {"num_channels": 1, "depth_multiplier": 0.25},
    "efficientnet": {"num_channels": 1, "width_coefficient": 0.25, "depth_coefficient": 0.3, "hidden_dim": 320},
}


def resnet() -> Model:
    """ResNet-20 for 8×8 gray images, with batch norms that have seen data."""
    model = load.open("zoo:resnet20(classes=10)", shape=(1, 8, 8))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        see_data(model.module)
    return model


def idle(model: Model, *names: str) -> None:
    """Lets blocks of a ResNet give what they take."""
    for name in names:
        norm = [part for part in model.module.get_submodule(name).modules() if isinstance(part, nn.BatchNorm2d)][-1]
        nn.init.zeros_(norm.weight)
        nn.init.zeros_(norm.bias)


def images() -> dict[str, torch.Tensor]:
    return dict(next(iter(TinyTask().batches("test", 5))).inputs)


def context(model: Model, folder: Path) -> Context:
    return Context(TinyTask(), LiteRT.limits, 0, model, folder)


class TestContract(StepContract):
    @pytest.fixture
    def step(self):
        return PruneBlocks()

    @pytest.fixture
    def config(self):
        return BlocksConfig.model_validate(
            {"count": 2, "samples": 32, "recover": {"steps": 2, "batch_size": 16, "teacher": "original"}}
        )

    @pytest.fixture
    def model(self):
        return resnet()


@pytest.mark.parametrize("importance", ["answers", "influence"])
def test_blocks_that_do_nothing_go_first_and_cost_nothing(importance: str, tmp_path: Path) -> None:
    model = resnet()
    idle(model, "stages.0.1", "stages.2.2", "stages.1.1")
    config = BlocksConfig.model_validate({"count": 3, "importance": importance, "reestimate": False})
    found = PruneBlocks().apply(model, config, context(model, tmp_path))
    gone = set(residual.find(model).removable) - set(residual.find(found).removable)
    assert gone == {"stages.0.1", "stages.2.2", "stages.1.1"}
    torch.testing.assert_close(found(images())["output"], model(images())["output"])
    assert "removed 3 of 7 blocks" in found.history[-1].changed


def test_batch_norms_behind_a_gap_see_what_comes_now(tmp_path: Path) -> None:
    model = resnet()
    off = []
    for reestimate in (False, True):
        config = BlocksConfig(count=2, samples=16, reestimate=reestimate)
        found = PruneBlocks().apply(model, config, context(model, tmp_path))
        assert ("15 batch norms re-estimated" in found.history[-1].changed) == reestimate
        norm = [part for part in found.module.modules() if isinstance(part, nn.BatchNorm2d)][-1]
        seen: list[torch.Tensor] = []
        norm.register_forward_pre_hook(lambda _, given, seen=seen: seen.append(given[0]))
        found(next(iter(TinyTask().batches("calibration", 64))).inputs)
        assert norm.running_mean is not None
        off.append(float((norm.running_mean - seen[0].mean((0, 2, 3))).norm()))
    assert off[1] < 0.1 * off[0]


def test_each_removal_is_judged_by_what_is_left(tmp_path: Path) -> None:
    model = resnet()
    found = PruneBlocks().apply(model, BlocksConfig(count=2, samples=64), context(model, tmp_path))
    batch = next(iter(TinyTask().batches("calibration", 64)))
    wanted = model(batch.inputs)["output"].log_softmax(-1)

    def distance(*names: str) -> float:
        module = load.open("zoo:resnet20(classes=10)", shape=(1, 8, 8)).module
        module.load_state_dict(model.module.state_dict())
        for name in names:
            parent, _, last = name.rpartition(".")
            del module.get_submodule(parent)._modules[last]
        with torch.no_grad():
            answers = module.eval()(batch.inputs["image"]).log_softmax(-1)
        return float((wanted.exp() * (wanted - answers)).sum(-1).mean())

    first = min(FREE, key=distance)
    second = min((name for name in FREE if name != first), key=lambda name: distance(first, name))
    assert f"({first}, {second})" in found.history[-1].changed
    assert f"a KL divergence of {distance(first, second):.3g}" in found.history[-1].changed


def test_a_share_of_the_work_stays(tmp_path: Path) -> None:
    model = resnet()
    found = PruneBlocks().apply(model, BlocksConfig(macs=0.7, samples=32), context(model, tmp_path))
    # each block of 18 convolutions of one cost takes two of them; those of the first in stages 1 and 2, one and a half
    gone = 7 - len(residual.find(found).removable)
    assert gone == 3
    share = cost.macs(found) / cost.macs(model)
    assert 0.6 < share <= 0.7
    assert f"multiply–accumulates ({share:.3f})" in found.history[-1].changed
    keep_invariants(found)


def test_the_work_that_a_block_saves_counts(tmp_path: Path) -> None:
    model = load.open("zoo:mobilenet_v2(classes=10, width=0.25)", shape=(1, 16, 16))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        see_data(model.module)
    around = Context(Drawn(model), LiteRT.limits, 0, model, tmp_path)
    found = PruneBlocks().apply(model, BlocksConfig(macs=0.99), around)
    whole = model(drawn(model))["output"].log_softmax(-1)
    worth = {}
    for name in residual.find(model).removable:
        less = load.open("zoo:mobilenet_v2(classes=10, width=0.25)", shape=(1, 16, 16))
        less.module.load_state_dict(model.module.state_dict())
        residual.remove(less.module, name)
        loss = (whole.exp() * (whole - less(drawn(model))["output"].log_softmax(-1))).sum(-1).mean()
        worth[name] = float(loss) / (cost.macs(model) - cost.macs(less))
    assert f"({min(worth, key=worth.__getitem__)})" in found.history[-1].changed


def test_a_latency_is_measured_on_the_target(tmp_path: Path) -> None:
    model = resnet()
    measured = []

    def deployed(given: Model) -> Deployed:
        measured.append(given)
        return Deployed(0.05 + 0.1 * len(residual.find(given).removable), 1000)  # 0.75 ms, 0.1 ms a block

    around = replace(context(model, tmp_path), deployed=deployed)
    found = PruneBlocks().apply(model, BlocksConfig(latency="0.5 ms", importance="influence"), around)
    assert len(residual.find(found).removable) == 4
    assert "leaves 0.45 of 0.75 ms (0.600)" in found.history[-1].changed
    # the whole; a block of each of the three stages; the least, none to three gone; the result
    assert len(measured) == 1 + 3 + 1 + 4 + 1
    half = PruneBlocks().apply(model, BlocksConfig(latency="0.5x", importance="influence"), around)
    assert len(residual.find(half).removable) == 3
    with pytest.raises(ParingError, match=r"0.05 of 0.75 ms \(0.067\) are left, 0.03 may be"):
        PruneBlocks().apply(model, BlocksConfig(latency="0.03 ms"), around)
    with pytest.raises(ParingError, match="there is none here"):
        PruneBlocks().apply(model, BlocksConfig(latency="0.5 ms"), context(model, tmp_path))


def test_all_blocks_go_but_the_last_of_their_class(tmp_path: Path) -> None:
    model = resnet()
    found = PruneBlocks().apply(
        model, BlocksConfig(count=7, importance="random", reestimate=False), context(model, tmp_path)
    )
    assert [len(list(stage.children())) for stage in found.module.get_submodule("stages").children()] == [0, 1, 1]
    again = saved.load(saved.save(found, tmp_path / "found.safetensors"))
    assert torch.equal(again(images())["output"], found(images())["output"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"count": 8}, r"8 blocks are to go, 7 can \(one of each list and class stays\)\n  try: count: 7 or less"),
        ({"macs": 0.1}, r"without all 7 blocks that can go .* are left"),
        ({"count": 2, "only": ["stages.1"]}, None),
        ({"count": 2, "only": ["stages.1"], "keep": ["stages.1.1"]}, "2 blocks are to go, 1 can"),
        ({"count": 1, "only": ["stages.1.0"]}, "1 blocks are to go, 0 can"),
        ({"count": 1, "only": ["stages.7"]}, "no layer is called 'stages.7'"),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, Any], message: str | None, tmp_path: Path) -> None:
    config = BlocksConfig.model_validate({"importance": "influence", **options})
    if message is None:
        found = PruneBlocks().apply(resnet(), config, context(resnet(), tmp_path))
        assert found.history[-1].skipped[0].layer == "stages.1.0"
        assert "it takes (2, 16, 8, 8) and gives (2, 32, 4, 4)" in found.history[-1].skipped[0].reason
    else:
        with pytest.raises(ParingError, match=message):
            PruneBlocks().apply(resnet(), config, context(resnet(), tmp_path))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"count": 0},
        {"count": 1, "macs": 0.5},
        {"macs": 1.0},
        {"macs": 0.0},
        {"latency": "2x"},
        {"latency": "5 KiB"},
    ],
)
def test_such_options_there_are_not(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        BlocksConfig.model_validate(options)


def test_a_transformer_keeps_a_layer(tmp_path: Path) -> None:
    model = family("vit")
    around = Context(Drawn(model), LiteRT.limits, 0, model, tmp_path)
    with pytest.raises(ParingError, match="2 blocks are to go, 1 can"):
        PruneBlocks().apply(model, BlocksConfig(count=2), around)


def test_networks_without_blocks_are_refused(tmp_path: Path) -> None:
    model = load.open("torch:paring.testing.networks:tiny_network", shape=(1, 8, 8))
    with pytest.raises(ParingError, match=r"has no block that could go \(stem"):
        PruneBlocks().apply(model, BlocksConfig(count=1), context(model, tmp_path))
    with pytest.raises(ParingError, match="a quantized model cannot be cut"):
        PruneBlocks().apply(quantized(), BlocksConfig(count=1), context(model, tmp_path))
    assert PruneBlocks().acts_on(model) == {}


def test_what_can_go_is_told_beforehand() -> None:
    found = PruneBlocks().acts_on(resnet())
    assert [name for name, reason in found.items() if reason is None] == FREE
    assert found["stages.1.0"] == "it takes (2, 16, 8, 8) and gives (2, 32, 4, 4)"


class Gate(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(4, 4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.squeeze(x).sigmoid()


class Bypass(nn.Module):
    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        gained: torch.Tensor = x + self.body(x)
        return gained


def test_only_what_adds_to_what_it_takes_is_a_block() -> None:
    plain = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())
    nested = nn.Sequential(nn.Conv2d(4, 4, 1), Bypass(nn.Conv2d(4, 4, 1)))
    chain = nn.Sequential(Bypass(nn.Conv2d(4, 4, 1)), nn.ReLU(), Bypass(nested))
    model = load.open("zoo:resnet8(classes=10)", shape=(4, 8, 8))
    model.module.stem = nn.Conv2d(4, 4, 1)
    model.module.stages = nn.Sequential(plain, Gate(), chain)
    model.module.classifier = nn.Linear(4, 10)
    blocks = residual.find(model)
    # of the chain each, not the chain as a whole; the one inside of another is its affair
    assert blocks.removable == ("stages.2.0", "stages.2.2")
    model.module.stages = nn.Sequential(plain, Gate())
    refused = residual.find(model).refused
    assert refused["stages.0"] == "nothing leads around its weights"
    assert refused["stages.1"] == "it is a gate: without its weights it gives 0.5 times what it takes"


@pytest.mark.parametrize("kind", FAMILIES)
def test_a_layer_of_every_family_of_transformers_goes(kind: str, tmp_path: Path) -> None:
    model = family(kind)
    around = Context(Drawn(model), LiteRT.limits, 0, model, tmp_path)
    blocks = residual.find(model).removable
    found = PruneBlocks().apply(model, BlocksConfig(count=1, samples=8), around)
    assert set(residual.find(found).removable) < set(blocks)
    answers = found(drawn(model))["output"]
    assert not torch.allclose(answers, model(drawn(model))["output"])
    again = saved.load(saved.save(found, tmp_path / "found.safetensors"))
    assert torch.equal(again(drawn(model))["output"], answers)


@pytest.mark.parametrize(
    "entry",
    [
        "zoo:resnet8(classes=10)",
        pytest.param("zoo:resnet56(classes=10)", marks=pytest.mark.slow),
        pytest.param("zoo:mobilenet_v2(classes=10, width=0.25)", marks=pytest.mark.slow),
        *(
            pytest.param(f"hf:{kind}(classes=10, config={config})", marks=pytest.mark.slow)
            for kind, config in NETS.items()
        ),
        *(pytest.param(kind, marks=pytest.mark.slow) for kind in FAMILIES),
    ],
)
def test_the_file_answers_like_the_cut_network(entry: str, tmp_path: Path) -> None:
    edge = 32 if entry.startswith("hf:") else 16
    model = load.open(entry, shape=(1, edge, edge)) if ":" in entry else family(entry)
    see_data(model.module)
    around = Context(Drawn(model), LiteRT.limits, 0, model, tmp_path)
    count = 1 if ":" not in entry else len(residual.find(model).removable) // 2 or 1
    found = PruneBlocks().apply(model, BlocksConfig(count=count, importance="influence", samples=8), around)
    runner = LiteRT().open(LiteRT().export(found, tmp_path / "found.tflite"))
    answers = runner.run({name: tensor.numpy() for name, tensor in drawn(model).items()})["output"]
    np.testing.assert_allclose(answers, found(drawn(model))["output"].numpy(), rtol=1e-3, atol=1e-4)


def test_later_steps_keep_what_is_left(tmp_path: Path) -> None:
    model = resnet()
    found = PruneBlocks().apply(model, BlocksConfig(count=3, samples=32), context(model, tmp_path))
    left = residual.find(found).removable
    for name, options in {
        "finetune": {"steps": 2, "batch_size": 16},
        "quantize.static": {"calibration": {"samples": 16}},
    }.items():
        step = STEPS.load(name)()
        later = step.apply(found, step.Config.model_validate(options), context(model, tmp_path))
        keep_invariants(later)
        if not later.quantized:
            assert residual.find(later).removable == left
        again = saved.load(saved.save(later, tmp_path / "later.safetensors"))
        assert torch.equal(again(images())["output"], later(images())["output"])


class Cached(nn.Module):
    """Blocks that note what they have seen in an object that they are given, as language models do."""

    class Seen:
        """Grows with every block that writes into it."""

        def __init__(self) -> None:
            self.rows: dict[int, torch.Tensor] = {}

    class Block(nn.Module):
        def __init__(self, number: int) -> None:
            super().__init__()
            self.number, self.layer = number, nn.Linear(8, 8)

        def forward(self, x: torch.Tensor, seen: "Cached.Seen") -> torch.Tensor:
            rows = torch.cat([seen.rows[self.number], x], 1) if self.number in seen.rows else x
            seen.rows[self.number] = rows
            return x + self.layer(rows) * torch.ones_like(x)

    def __init__(self) -> None:
        super().__init__()
        self.blocks, self.out = nn.ModuleList(self.Block(number) for number in range(3)), nn.Linear(8, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        seen = self.Seen()
        for block in self.blocks:
            x = block(x, seen)
        return self.out(x.mean(1))


def test_blocks_that_write_into_what_they_are_given_can_go() -> None:
    model = probe.model(Cached().eval(), Source("test"), (TensorSpec.of("x", (5, 8)),))
    assert PruneBlocks().acts_on(model) == {"blocks.0": None, "blocks.1": None, "blocks.2": None}
