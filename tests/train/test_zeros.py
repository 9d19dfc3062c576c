"""Zeros that an earlier step won stay through a training. Run by `torchrun`, this file is what each process does."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from paring.core.model import Invariant
from paring.core.step import Context
from paring.core.target import Limits
from paring.steps.finetune import Finetune
from paring.steps.prune.magnitude import MagnitudeConfig, PruneMagnitude
from paring.steps.prune.movement import MovementConfig, PruneMovement
from paring.steps.prune.rigl import PruneRigl, RiglConfig
from paring.testing.models import TinyTask, tiny
from paring.train.config import RecoverConfig, TrainConfig
from paring.train.loop import fit
from paring.train.state import weights_digest
from paring.train.zeros import Zeros

INVARIANTS = (Invariant("sparsity", "body.3", 0.5), Invariant("scale", "body.0", [0.1]))


def half():
    model = tiny()
    for layer in ("body.0", "body.3"):
        model.module.get_submodule(layer).weight.data.flatten()[::2] = 0
    return replace(model, invariants=INVARIANTS)


@pytest.fixture
def pruned():
    return half()


# each of them would move a weight that is 0 and has a gradient, or had one
OPTIONS = {
    "momentum": {"momentum": 0.95, "nesterov": True},
    "weight decay": {"weight_decay": 0.5, "learning_rate": 0.05},
    "adamw": {"optimizer": "adamw", "learning_rate": 0.01, "weight_decay": 0.5},
    "average": {"ema": 0.9},
    "average of adamw": {"ema": 0.5, "optimizer": "adamw", "learning_rate": 0.01},
    "bfloat16": {"precision": "bfloat16"},
    "clipped": {"clip_norm": 0.01, "channels_last": False},
    "best": {"keep": "best", "steps": None, "epochs": 2},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_zeros_of_the_layers_named_stay_and_all_else_learns(pruned, tmp_path, options):
    steps, zeros = [], Zeros(pruned.module, pruned.invariants)

    def between(module, done):
        steps.append(done)
        zeros(module)
        assert (module.get_submodule("body.3").weight.flatten()[::2] == 0).all()

    config = TrainConfig(**{"steps": 6, "batch_size": 16, **options})
    last = config.length(6)
    fit(pruned, TinyTask(), config, seed=0, directory=tmp_path, between_steps=between, until=lambda step: step == 3)
    module = fit(pruned, TinyTask(), config, seed=0, directory=tmp_path, between_steps=between).module
    assert steps == [0, 1, 2, 3, 3, *range(4, last + 1)]
    kept, freed = module.get_submodule("body.3").weight.flatten(), module.get_submodule("body.0").weight.flatten()
    assert (kept[::2] == 0).all()
    assert (kept[1::2] != pruned.module.get_submodule("body.3").weight.flatten()[1::2]).all()
    assert (freed[::2] != 0).any()  # no invariant of sparsity names it
    assert (module.get_submodule("body.3").bias != pruned.module.get_submodule("body.3").bias).all()


def test_names_are_whole(pruned):
    Zeros(pruned.module, (Invariant("sparsity", "bod", 1),))(pruned.module)
    zeros = Zeros(pruned.module, (Invariant("sparsity", "body.3.weight", 1),))
    pruned.module.get_submodule("body.3").weight.data.fill_(1.0)
    pruned.module.get_submodule("body.0").weight.data.fill_(1.0)
    zeros(pruned.module)
    assert (pruned.module.get_submodule("body.3").weight.flatten()[::2] == 0).all()
    assert (pruned.module.get_submodule("body.0").weight == 1).all()
    assert torch.equal(pruned.module.get_submodule("body.3").weight.flatten()[1::2], torch.ones(32))


def main(out: Path) -> None:
    """Zeros that stay, and masks that move, in one of several processes."""
    task, found = TinyTask(), {}
    limits = Limits(frozenset({"float32"}), frozenset({"float32"}))
    recover = {"steps": 7, "batch_size": 15, "learning_rate": 0.05}  # shares of 8 and 7 samples
    schedule = {"begin": 1, "end": 6, "frequency": 2}
    steps = {
        "finetune": (Finetune(), RecoverConfig.model_validate(recover)),
        "gradual": (
            PruneMagnitude(),
            MagnitudeConfig(sparsity=0.5, scope="layer", polynomial=schedule, regrow=True, recover=recover),
        ),
        "movement": (PruneMovement(), MovementConfig(sparsity=0.5, polynomial=schedule, recover=recover)),
        "rigl": (PruneRigl(), RiglConfig(sparsity=0.5, frequency=2, recover=recover)),
    }
    for name, (step, config) in steps.items():
        model = replace(half(), invariants=INVARIANTS[:1]) if name == "finetune" else tiny()
        result = step.apply(model, config, Context(task, limits, 0, model, out / name))
        weight = result.module.get_submodule("body.3").weight
        found[name] = [int((weight == 0).sum()), weights_digest(result.module)]
        if name == "finetune":
            assert (weight.flatten()[::2] == 0).all()
    (out / f"{os.environ['RANK']}.json").write_text(json.dumps(found))


def test_zeros_stay_and_masks_move_alike_in_several_processes(tmp_path):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, __file__, str(tmp_path)], env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2))
    assert first == second
    assert {name: zeros for name, (zeros, _) in first.items()} == {
        "finetune": 32, "gradual": 32, "movement": 32, "rigl": first["rigl"][0]
    }  # fmt: skip
    assert first["rigl"][0] > 0


if __name__ == "__main__":
    main(Path(sys.argv[1]))
