"""Which networks can be cut: prune, run, save, load, export, same answers. The others are refused with the reason."""

from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch

from paring import load
from paring.core.model import Model
from paring.core.step import Context
from paring.core.target import Limits
from paring.core.task import Batch
from paring.load import saved
from paring.measure import cost
from paring.steps import keep_invariants
from paring.steps.prune.channels import ChannelsConfig, PruneChannels

FLOAT = frozenset({"float32"})


@dataclass
class Noise:
    """Random inputs of any model."""

    inputs: tuple
    classes: int
    name = identity = "noise"
    preprocessing = {}  # noqa: RUF012

    @property
    def labels(self):
        return tuple(map(str, range(self.classes)))

    def size(self, split):
        return 32

    def batches(self, split, batch_size, *, limit=None, **_):
        chance = torch.Generator().manual_seed(hash(split) % 2**16 if split == "test" else 0)
        count = min(limit or 32, 32)
        for start in range(0, count, batch_size):
            size = min(batch_size, count - start)
            found = {}
            for spec in self.inputs:
                low, high = spec.range or (0, 1)
                if spec.dtype.startswith("int"):
                    drawn = torch.randint(int(low), int(high) + 1, spec.sized(size), generator=chance)
                else:
                    drawn = torch.rand(spec.sized(size), generator=chance) * (high - low) + low
                found[spec.name] = drawn.to(getattr(torch, spec.dtype))
            yield Batch(found, torch.randint(self.classes, (size,), generator=chance))

    def loss(self, outputs, targets, label_smoothing=0.0):
        return torch.nn.functional.cross_entropy(next(iter(outputs.values())), targets)


def halved(model: Model, folder: Path, share: float = 0.5, **given) -> Model:
    task = Noise(model.inputs, int(model.outputs[0].shape[-1]))
    context = Context(task, Limits(FLOAT, FLOAT), 0, model, folder / "work")
    options = {"macs": share, "round_to": 1, "widths": "uniform", "floor": 0.05, **given}
    found = PruneChannels().apply(model, ChannelsConfig(**options), context)
    keep_invariants(found)
    assert cost.macs(found) <= share * cost.macs(model)
    return found


def sample(model: Model, count: int = 2) -> dict[str, torch.Tensor]:
    return next(iter(Noise(model.inputs, 10).batches("test", count))).inputs


def saved_and_loaded(model: Model, folder: Path) -> None:
    again = saved.load(saved.save(model, folder / "model.safetensors"))
    inputs = sample(model)
    for name, wanted in model(inputs).items():
        assert torch.equal(again(inputs)[name], wanted)


def exported(model: Model, folder: Path) -> None:
    from paring.targets.litert import LiteRT

    inputs = sample(model)
    got = LiteRT().open(LiteRT().export(model, folder / "model.tflite")).run({n: t.numpy() for n, t in inputs.items()})
    for name, wanted in model(inputs).items():
        error = float((torch.from_numpy(got[name]) - wanted).abs().max())
        assert error < 1e-3 * float(wanted.abs().max()), (name, error)


HAND_MADE = ("concatenation", "grouped", "shared", "chain", "heads", "recurrent", "up_and_down", "attention")


def hand_made(name: str) -> Model:
    return load.open(f"torch:paring.testing.structures:{name}", shape=(1, 8, 8))


@pytest.mark.parametrize("name", HAND_MADE)
def test_hand_made_networks(name, tmp_path):
    found = halved(hand_made(name), tmp_path, share=0.8 if name == "attention" else 0.5)
    saved_and_loaded(found, tmp_path)


@pytest.mark.parametrize("name", ["heads", "recurrent"])
def test_some_in_the_runtime(name, tmp_path):
    exported(halved(hand_made(name), tmp_path), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", HAND_MADE)
def test_hand_made_networks_in_the_runtime(name, tmp_path):
    exported(halved(hand_made(name), tmp_path, share=0.8 if name == "attention" else 0.5), tmp_path)


ZOO = {
    "mobilenet_v1": (3, 32, 32),
    "mobilenet_v2": (3, 32, 32),
    "squeezenet1_1": (3, 32, 32),
    "resnet8": (3, 32, 32),
    "resnet20": (3, 16, 16),
    "resnet56": (3, 8, 8),
    "ds_cnn": (1, 49, 10),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", ZOO)
def test_zoo(name, tmp_path):
    entry = "zoo:mobilenet_v2(width=0.35)" if name == "mobilenet_v2" else f"zoo:{name}"
    found = halved(load.open(entry, shape=ZOO[name]), tmp_path, round_to=4)
    saved_and_loaded(found, tmp_path)
    exported(found, tmp_path)


TEXT = {"vocab_size": 100, "max_position_embeddings": 64, "num_labels": 2}
BERT = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
VIT = {**BERT, "image_size": 32, "patch_size": 8, "num_labels": 10}
IMAGE = {"num_labels": 10, "image_size": 32}
# name -> share of the MACs that stays, and the configuration; of transformers half is more than widths alone can give
HUGGING_FACE = {
    "mobilenet_v1": (0.5, {"depth_multiplier": 0.25, **IMAGE}),
    "mobilenet_v2": (0.5, {"depth_multiplier": 0.35, **IMAGE}),
    "resnet": (0.5, {"embedding_size": 16, "hidden_sizes": [32, 64], "depths": [2, 1], "num_labels": 10}),
    "regnet": (0.5, {"embedding_size": 16, "hidden_sizes": [16, 32], "depths": [1, 2], "groups_width": 8,
                     "num_labels": 10}),
    "convnext": (0.5, {"hidden_sizes": [16, 32], "depths": [1, 2], "num_stages": 2, **IMAGE}),
    "efficientnet": (0.5, {"image_size": 64, "width_coefficient": 0.25, "depth_coefficient": 0.3, "hidden_dim": 320,
                           "num_labels": 10, "initializer_range": 0.3}),  # else answers are next to nothing
    "vit": (0.6, VIT),
    "deit": (0.6, VIT),
    "swin": (0.7, {"embed_dim": 16, "depths": [1, 1], "num_heads": [2, 4], "window_size": 4, "patch_size": 4,
                   **IMAGE}),
    "mobilevit": (0.6, {"hidden_sizes": [16, 24, 32], "neck_hidden_sizes": [8, 8, 16, 24, 32, 32, 64],
                        "num_attention_heads": 2, "image_size": 64, "num_labels": 10}),
    "distilbert": (0.6, {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64, **TEXT}),
    "bert": (0.6, {**BERT, **TEXT}),
    "mobilebert": (0.7, {**BERT, "embedding_size": 16, "intra_bottleneck_size": 16, "intermediate_size": 32, **TEXT}),
    "squeezebert": (0.8, {**BERT, "embedding_size": 32, **TEXT}),
}  # fmt: skip


def hugging_face(name: str) -> Model:
    pytest.importorskip("transformers")
    from paring.core.entry import Entry
    from paring.load.huggingface import door

    config = HUGGING_FACE[name][1]
    if "vocab_size" in config:
        return door.open(Entry("hf", name, {"config": config, "length": 16, "head": "classify", "classes": 2}))
    size = config.get("image_size", 32)
    return door.open(Entry("hf", name, {"config": config}), shape=(3, size, size))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", HUGGING_FACE)
def test_hugging_face(name, tmp_path):
    found = halved(hugging_face(name), tmp_path, HUGGING_FACE[name][0])
    saved_and_loaded(found, tmp_path)
    exported(found, tmp_path)


def test_a_width_is_refused_where_heads_would_be_cut(tmp_path):
    model = hand_made("attention")
    skipped = {one.layer: one.reason for one in halved(model, tmp_path, 0.8).history[-1].skipped}
    assert "nn.MultiheadAttention" in skipped["embed"]


def test_the_same_cut_again_is_the_same(tmp_path):
    one, other = (halved(hand_made("chain"), tmp_path, importance="taylor") for _ in range(2))
    assert all(torch.equal(tensor, other.module.state_dict()[name]) for name, tensor in one.module.state_dict().items())
    assert replace(one, module=other.module) == other
