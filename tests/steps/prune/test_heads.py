"""Attention heads and feed-forward units are cut out of transformers."""

import copy
from collections.abc import Iterator
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
from paring.core.model import Model, Skipped, Source, TensorSpec
from paring.core.step import Context
from paring.core.task import Batch
from paring.load import probe, saved
from paring.recipes.read import read
from paring.steps import STEPS, keep_invariants
from paring.steps.prune.heads import HeadsConfig, PruneHeads
from paring.steps.prune.structure import attention, gates, unpack
from paring.targets.litert import LiteRT
from paring.testing.models import TinyTask, quantized, tiny
from paring.testing.steps import StepContract
from paring.testing.transformers import FAMILIES, Drawn, drawn, family

SLOW = ["bert", "mobilebert", "squeezebert", "deit", "swin", "mobilevit"]


def context(model: Model, folder: Path) -> Context:
    return Context(Drawn(model), LiteRT.limits, 0, model, folder)


class TestContract(StepContract):
    @pytest.fixture
    def step(self):
        return PruneHeads()

    @pytest.fixture
    def config(self):
        return HeadsConfig.model_validate(
            {"heads": 0.5, "feed_forward": 0.5, "recover": {"steps": 2, "batch_size": 16, "teacher": "original"}}
        )

    @pytest.fixture
    def model(self):
        return family("vit")


@pytest.mark.parametrize("kind", FAMILIES)
def test_half_of_every_family_goes_and_what_nothing_read_costs_nothing(kind: str, tmp_path: Path) -> None:
    model = family(kind)
    found, refused = attention.find(model.module)
    assert not refused
    assert {one.kind for one in found} == {"heads", "feed_forward"}
    chance = torch.Generator().manual_seed(1)
    for one in found:  # of these, none may go: all others are not read
        half = [torch.randperm(one.count // one.groups, generator=chance).sort().values for _ in range(one.groups)]
        kept = [g * one.count // one.groups + p[: len(p) // 2].sort().values for g, p in enumerate(half)]
        attention.silence(model.module, one, torch.cat(kept))
    config = HeadsConfig(heads=0.5, feed_forward=0.5)
    cut = PruneHeads().apply(model, config, context(model, tmp_path))
    inputs = drawn(model)
    wanted, answers = model(inputs)["output"], cut(inputs)["output"]
    assert wanted.std() > 0.01
    torch.testing.assert_close(answers, wanted, rtol=1e-4, atol=1e-5)
    for before, after in zip(found, attention.find(cut.module)[0], strict=True):
        assert (after.name, after.count, after.size) == (before.name, before.count // 2, before.size)
    again = saved.load(saved.save(cut, tmp_path / "cut.safetensors"))
    assert torch.equal(again(inputs)["output"], answers)
    keep_invariants(again)


@pytest.mark.parametrize("kind", [pytest.param(k, marks=pytest.mark.slow if k in SLOW else ()) for k in FAMILIES])
def test_the_file_answers_like_the_cut_model(kind: str, tmp_path: Path) -> None:
    model = family(kind)
    config = HeadsConfig(heads=0.5, feed_forward=0.5, importance="magnitude")
    cut = PruneHeads().apply(model, config, context(model, tmp_path))
    runner = LiteRT().open(LiteRT().export(cut, tmp_path / "cut.tflite"))
    answers = runner.run({name: tensor.numpy() for name, tensor in drawn(model).items()})["output"]
    np.testing.assert_allclose(answers, cut(drawn(model))["output"].numpy(), rtol=1e-3, atol=1e-4)


def test_later_steps_keep_the_shapes(tmp_path: Path) -> None:
    model = family("vit")
    around = Context(TinyTask(), LiteRT.limits, 0, model, tmp_path)
    cut = PruneHeads().apply(model, HeadsConfig(heads=2, feed_forward=0.25), around)
    shapes = {one.layer: one.value for one in cut.invariants}
    assert shapes["model.vit.layers.1.attention.o_proj.weight"] == [32, 16]
    assert shapes["model.vit.layers.1.mlp.fc1.weight"] == [16, 32]
    for name, options in {
        "finetune": {"steps": 2, "batch_size": 16},
        "quantize.dynamic": {},
        "quantize.static": {"calibration": {"samples": 16}},
    }.items():
        step = STEPS.load(name)()
        later = step.apply(cut, step.Config.model_validate(options), around)
        keep_invariants(later)
        assert {one.layer: one.value for one in later.invariants if one.kind == "shape"} == shapes


def test_the_gates_tell_what_the_loss_loses(tmp_path: Path) -> None:
    model = family("distilbert")
    around = context(model, tmp_path)
    found, _ = attention.find(model.module)
    units = found[0]
    scored = gates.scores(model, [units], "taylor", 8, around, "here")[units.name]
    batch = next(around.task.batches("calibration", 8))
    slopes = torch.zeros(8, units.count, dtype=torch.float64)
    module = copy.deepcopy(model.module).double()
    weight = module.get_parameter(f"{units.taker}.weight")
    whole = weight.detach().clone()
    for unit in range(units.count):  # central differences, each sample for itself
        features = units.features(torch.tensor([unit]))
        for sample in range(8):
            one = {name: tensor[sample : sample + 1] for name, tensor in batch.inputs.items()}
            ends = []
            for step in (1e-4, -1e-4):
                with torch.no_grad():
                    weight.copy_(whole)
                    weight[:, features] *= 1 + step
                    answer = replace(model, module=module)(one)
                    ends.append(float(around.task.loss(answer, batch.targets[sample : sample + 1])))
            slopes[sample, unit] = (ends[0] - ends[1]) / 2e-4
    wanted = slopes.abs().mean(0)
    torch.testing.assert_close(scored, wanted / wanted.norm(), rtol=1e-3, atol=1e-4)


def test_the_control_is_drawn_from_the_seed(tmp_path: Path) -> None:
    model = family("vit")
    found, _ = attention.find(model.module)
    around = context(model, tmp_path)

    def drawn_with(seed: int) -> torch.Tensor:
        return gates.scores(model, found, "random", 1, replace(around, seed=seed), "here")[found[1].name]

    assert torch.equal(drawn_with(0), drawn_with(0))
    assert not torch.equal(drawn_with(0), drawn_with(1))


def test_a_unit_of_small_weights_is_of_small_magnitude(tmp_path: Path) -> None:
    model = family("squeezebert")  # whose layers have groups
    found, _ = attention.find(model.module)
    for one in found:
        attention.silence(model.module, one, torch.tensor([u for u in range(one.count) if u % (one.count // 2) != 1]))
        for giver in one.givers:
            with torch.no_grad():
                features = one.features(torch.tensor([1, one.count // 2 + 1]))
                model.module.get_parameter(f"{giver}.weight")[features] = 0
    scores = gates.scores(model, found, "magnitude", 1, context(model, tmp_path), "here")
    for one in found:
        assert (scores[one.name] == 0).nonzero().flatten().tolist() == [1, one.count // 2 + 1]
        assert float(scores[one.name].norm()) == pytest.approx(1)


def test_magnitude_is_the_norm_of_all_weights_of_a_unit(tmp_path: Path) -> None:
    model = family("vit")
    found, _ = attention.find(model.module)
    scores = gates.scores(model, found, "magnitude", 1, context(model, tmp_path), "here")
    for one in found:
        wanted = torch.zeros(one.count, dtype=torch.float64)
        for unit in range(one.count):
            features = one.features(torch.tensor([unit]))
            own = [model.module.get_parameter(f"{giver}.weight")[features] for giver in one.givers]
            own.append(model.module.get_parameter(f"{one.taker}.weight")[:, features])
            wanted[unit] = torch.cat([weight.flatten().double() for weight in own]).norm()
        torch.testing.assert_close(scores[one.name], (wanted / wanted.norm()).detach())


def test_every_sample_counts_alike_in_batches_of_any_size(tmp_path: Path) -> None:
    model = family("vit")
    found, _ = attention.find(model.module)

    class Uneven(Drawn):
        def batches(self, split: Any, batch_size: int, **options: Any) -> Iterator[Batch]:
            for batch in super().batches(split, batch_size, **options):
                for part in (slice(6), slice(6, 8)):
                    inputs = {name: tensor[part] for name, tensor in batch.inputs.items()}
                    yield Batch(inputs, batch.targets[part])

    around = context(model, tmp_path)
    whole = gates.scores(model, found, "taylor", 8, around, "here")
    parts = gates.scores(model, found, "taylor", 8, replace(around, task=Uneven(model)), "here")
    for name, score in whole.items():
        torch.testing.assert_close(parts[name], score, rtol=1e-4, atol=1e-5)


def test_over_all_layers_the_least_important_heads_go(tmp_path: Path) -> None:
    model = family("vit")
    first, second = (one for one in attention.find(model.module)[0] if one.kind == "heads")
    attention.silence(model.module, first, torch.tensor([2]))
    cut = PruneHeads().apply(model, HeadsConfig(heads=5, scope="global"), context(model, tmp_path))
    left = {one.name: one.count for one in attention.find(cut.module)[0] if one.kind == "heads"}
    assert left == {first.name: 1, second.name: 4}
    assert cut.history[-1].changed == "kept 5 of 8 heads (1 of 4 in 1 layer, 4 of 4 in 1 layer)"
    assert cut.history[-1].skipped == (Skipped(second.name, "all of it stays"),)
    torch.testing.assert_close(cut(drawn(model))["output"], model(drawn(model))["output"], rtol=1e-4, atol=1e-5)


def test_patterns_choose_what_is_cut(tmp_path: Path) -> None:
    model = family("vit")
    config = HeadsConfig(
        heads=1,
        feed_forward=0.5,
        only=("*.layers.1", "@feed_forward"),
        keep=("*.layers.1.mlp",),
        importance="magnitude",
    )
    cut = PruneHeads().apply(model, config, context(model, tmp_path))
    left = [one.count for one in attention.find(cut.module)[0]]
    assert left == [4, 32, 1, 64]


def test_torch_s_own_layers_lose_heads_and_units(tmp_path: Path) -> None:
    model = load.open("torch:paring.testing.structures:attention", shape=(1, 8, 8))
    around = Context(TinyTask(), LiteRT.limits, 0, model, tmp_path)
    assert PruneHeads().acts_on(model) == {"layer.self_attn": None, "layer.linear1": None}
    cut = PruneHeads().apply(model, HeadsConfig(heads=1, feed_forward=0.5), around)
    layer = cut.module.get_submodule("layer")
    assert (layer.self_attn.num_heads, tuple(layer.self_attn.k_proj.weight.shape)) == (1, (8, 16))
    assert layer.linear1.out_features == 16
    inputs = next(TinyTask().batches("test", 4)).inputs
    again = saved.load(saved.save(cut, tmp_path / "cut.safetensors"))
    assert torch.equal(again(inputs)["output"], cut(inputs)["output"])
    keep_invariants(again)
    runner = LiteRT().open(LiteRT().export(cut, tmp_path / "cut.tflite"))
    one = {name: tensor[:1] for name, tensor in inputs.items()}
    answers = runner.run({name: tensor.numpy() for name, tensor in one.items()})["output"]
    np.testing.assert_allclose(answers, cut(one)["output"].numpy(), rtol=1e-3, atol=1e-4)


def test_torch_s_attention_stays_as_it_is_where_only_units_go(tmp_path: Path) -> None:
    model = load.open("torch:paring.testing.structures:attention", shape=(1, 8, 8))
    around = Context(TinyTask(), LiteRT.limits, 0, model, tmp_path)
    cut = PruneHeads().apply(model, HeadsConfig(feed_forward=0.5), around)
    assert isinstance(cut.module.get_submodule("layer.self_attn"), nn.MultiheadAttention)
    assert [edit.name for edit in cut.edits] == ["reshape"]


def test_torch_s_attention_with_keys_of_its_own_is_refused(tmp_path: Path) -> None:
    model = load.open("torch:paring.testing.structures:attention", shape=(1, 8, 8))
    model.module.layer.self_attn = nn.MultiheadAttention(16, 2, add_zero_attn=True, batch_first=True)
    with pytest.raises(ParingError, match=r"it adds keys and values of its own \(add_bias_kv, add_zero_attn\)"):
        PruneHeads().apply(model, HeadsConfig(heads=1), context(model, tmp_path))


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("vit", {"heads": 5}, "5 of 4\n  try: a number that can stay: 1, 2, 3, 4"),
        ("vit", {"heads": 0.4}, "heads do not divide so: 0.4 of 4 are 1.6"),
        ("vit", {"heads": 1, "scope": "global"}, "1 of 8\n  try: a number that can stay: 2 to 8"),
        ("squeezebert", {"heads": 1}, "1 of 4, which go 2 at a time"),
        ("vit", {"heads": 2, "only": ["*.mlp"]}, "nothing is chosen that heads could be taken from"),
        ("vit", {"heads": 2, "keep": ["decoder"]}, "no layer is called 'decoder'"),
    ],
)
def test_what_cannot_be_is_refused(kind: str, options: dict[str, Any], message: str, tmp_path: Path) -> None:
    model = family(kind)
    with pytest.raises(ParingError, match=message):
        PruneHeads().apply(model, HeadsConfig.model_validate(options), context(model, tmp_path))


@pytest.mark.parametrize(
    "options", [{}, {"heads": 0}, {"heads": 1.5}, {"feed_forward": 0}, {"heads": 2, "round_to": 0}]
)
def test_such_options_there_are_not(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        HeadsConfig.model_validate(options)


def test_a_network_without_attention_is_refused(tmp_path: Path) -> None:
    around = Context(TinyTask(), LiteRT.limits, 0, tiny(), tmp_path)
    with pytest.raises(ParingError, match="neither attention nor feed-forward layers"):
        PruneHeads().apply(tiny(), HeadsConfig(heads=0.5), around)


@pytest.mark.parametrize(
    ("between", "reason"),
    [
        (nn.Softmax(-1), "what is around them mixes them or needs all of them"),  # units that know of each other
        (nn.LayerNorm(64), "without some of them its network fails"),
    ],
)
def test_what_only_looks_like_a_transformer_is_left_with_the_reason(between, reason, tmp_path: Path) -> None:
    model = family("vit")
    model.module.get_submodule("model.vit.layers.0.mlp").activation_fn = between
    cut = PruneHeads().apply(model, HeadsConfig(feed_forward=0.5), context(model, tmp_path))
    (skipped,) = cut.history[-1].skipped
    assert skipped.layer == "model.vit.layers.0.mlp.fc1"
    assert reason in skipped.reason
    widths = [cut.module.get_submodule(f"model.vit.layers.{i}.mlp.fc1").out_features for i in (0, 1)]
    assert widths == [64, 32]
    model.module.get_submodule("model.vit.layers.1.mlp").activation_fn = between
    with pytest.raises(ParingError, match=reason):
        PruneHeads().apply(model, HeadsConfig(feed_forward=0.5), context(model, tmp_path))


class Sequence(nn.Module):
    """torch's own encoder with the batch on the second axis."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(16, 4, 32)
        self.e, self.o = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False), nn.Linear(16, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.o(self.e(x.transpose(0, 1)).mean(0))


class Fused(nn.Module):
    """Queries, keys and values from one layer; a feed-forward pair whose first layer gives units and gates."""

    def __init__(self, whole: int = 0, inner: bool = False) -> None:
        super().__init__()
        self.num_heads, self.whole, self.inner = 4, whole, inner
        name = "query_key_value" if inner else "qkv"
        setattr(self, name, nn.Linear(16, 48))
        self.given = name
        self.proj, self.Wi, self.Wo, self.o = nn.Linear(16, 16), nn.Linear(16, 64), nn.Linear(32, 16), nn.Linear(16, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        given = getattr(self, self.given)(x)
        if self.inner:
            q, k, v = given.view(len(x), -1, self.num_heads, 12).transpose(1, 2).chunk(3, -1)
        else:
            q, k, v = given.reshape(len(x), -1, 3, self.num_heads, 4).permute(2, 0, 3, 1, 4).unbind(0)
        found = torch.nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2)
        x = x + self.proj(found.reshape(len(x), -1, self.whole or 4 * self.num_heads))
        one, other = self.Wi(x).chunk(2, -1)
        return self.o((x + self.Wo(one.relu() * other)).mean(1))


class Shared(nn.Module):
    """Two heads of queries for each of keys and values; a gated feed-forward pair."""

    def __init__(self) -> None:
        super().__init__()
        self.head_dim = 4
        self.q_proj, self.k_proj, self.v_proj = nn.Linear(16, 16), nn.Linear(16, 8), nn.Linear(16, 8)
        self.o_proj, self.o = nn.Linear(16, 16), nn.Linear(16, 10)
        self.gate_proj, self.up_proj, self.down_proj = nn.Linear(16, 32), nn.Linear(16, 32), nn.Linear(32, 16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = (
            one(x).unflatten(-1, (-1, self.head_dim)).transpose(1, 2) for one in (self.q_proj, self.k_proj, self.v_proj)
        )
        k, v = (one.repeat_interleave(2, 1) for one in (k, v))
        found = torch.nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        x = x + self.o_proj(found)
        return self.o((x + self.down_proj(self.gate_proj(x).relu() * self.up_proj(x))).mean(1))


class Around(nn.Module):
    """Something as the layer of a network: the network itself has no name."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x)


@pytest.mark.parametrize("importance", ["taylor", "magnitude"])
@pytest.mark.parametrize(
    ("network", "heads", "shapes"),
    [
        (Sequence, 0.5, {"e.layers.0.self_attn.k_proj": (8, 16), "e.layers.0.linear1": (16, 16)}),
        (Fused, 0.5, {"qkv": (24, 16), "proj": (16, 8), "Wi": (32, 16), "Wo": (16, 16)}),
        (lambda: Fused(inner=True), 0.5, {"query_key_value": (24, 16), "Wi": (32, 16)}),
        (Shared, 1, {"q_proj": (8, 16), "k_proj": (4, 16), "gate_proj": (16, 16), "up_proj": (16, 16)}),
    ],
)
def test_every_way_of_giving_heads(network, heads, shapes, importance, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = probe.model(Around(network()).eval(), Source("test"), (TensorSpec.of("x", (6, 16)),))
    options = HeadsConfig(heads=heads, feed_forward=0.5, importance=importance, round_to=4)
    cut = PruneHeads().apply(model, options, context(model, tmp_path))
    assert not cut.history[-1].skipped
    for name, shape in shapes.items():
        assert tuple(cut.module.get_parameter(f"layer.{name}.weight").shape) == shape
    keep_invariants(cut)


def test_heads_whose_width_is_a_number_of_the_code_stay_with_the_reason() -> None:
    model = probe.model(Around(Fused(16)).eval(), Source("test"), (TensorSpec.of("x", (6, 16)),))
    told = PruneHeads().acts_on(model)
    assert "without some of them its network fails" in str(told["layer"])
    assert told["layer.Wi"] is None


def test_heads_of_the_second_axis_matter_as_those_of_the_first(tmp_path: Path) -> None:
    torch.manual_seed(0)
    second = Sequence().eval()
    first = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True).eval()
    first.load_state_dict(second.e.layers[0].state_dict())

    class First(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.e, self.o = first, second.o

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.o(self.e(x).mean(1))

    found = []
    for network in (second, First().eval()):
        model = unpack.opened(probe.model(network, Source("test"), (TensorSpec.of("x", (6, 16)),)))
        units, _ = attention.find(model.module)
        scores = gates.scores(model, units, "taylor", 8, context(model, tmp_path), "test")
        found.append([scores[one.name] for one in units])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_heads_that_share_keys_are_refused_with_the_reason() -> None:
    model = family("vit")
    layer = model.module.get_submodule("model.vit.layers.0.attention")
    layer.k_proj = nn.Linear(32, 16)
    found, refused = attention.find(model.module)
    assert refused == {
        "model.vit.layers.0.attention": "queries, keys and values have 32, 16, 32 features: heads share keys or values"
    }
    assert "model.vit.layers.1.attention" in {one.name for one in found}
    assert PruneHeads().acts_on(model)["model.vit.layers.0.attention"] == refused["model.vit.layers.0.attention"]


def test_a_quantized_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ParingError, match="a quantized model cannot be cut"):
        PruneHeads().apply(quantized(), HeadsConfig(heads=0.5), context(quantized(), tmp_path))


def test_the_recipe_of_the_examples_is_one() -> None:
    recipe, _ = read(Path(__file__).parents[3] / "examples" / "reviews-heads.yaml")
    config = HeadsConfig.model_validate(recipe.steps[0].config)
    assert recipe.steps[0].name == PruneHeads.name
    assert (config.heads, config.feed_forward) == (0.5, 0.5)
    assert HeadsConfig.model_validate(config.model_dump(mode="json")) == config


def test_a_share_is_no_number() -> None:
    assert [HeadsConfig(heads=n).heads for n in (1, 1.0)] == [1, 1.0]
    assert [type(HeadsConfig(heads=n).heads) for n in (1, 1.0)] == [int, float]
