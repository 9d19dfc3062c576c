"""Training in two processes. Run by `torchrun`, this file is what each of them does."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import paring.data
from paring.core.errors import ParingError
from paring.core.model import Model, Source, TensorSpec
from paring.train.config import TaughtConfig, TrainConfig
from paring.train.distillation.distillation import Distillation
from paring.train.distillation.teacher import ModelTeacher
from paring.train.loop import fit
from paring.train.state import weights_digest

CONFIG = TrainConfig(epochs=2, batch_size=129, ema=0.5, schedule="cosine")  # 129: shares of 65 and 64 samples
PER_EPOCH = 9


class Counted:
    """A task that keeps what this process was given to train on."""

    def __init__(self, task):
        self.task, self.seen = task, []

    def __getattr__(self, name):
        return getattr(self.task, name)

    def batches(self, split, *args, shuffle=None, **kwargs):
        for batch in self.task.batches(split, *args, shuffle=shuffle, **kwargs):
            if shuffle is not None:
                self.seen.append([hash(image.numpy().tobytes()) for image in batch.inputs["image"]])
            yield batch


def digits_model(task, batch_norm=True, width=8) -> Model:
    with torch.random.fork_rng():
        torch.manual_seed(7)
        module = nn.Sequential(
            nn.Conv2d(1, width, 3),
            *([nn.BatchNorm2d(width)] if batch_norm else []),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(36 * width, 10),
        )
    outputs = (TensorSpec("logits", ("batch", 10)),)
    return Model(module.eval(), Source("torch:tests.train:digits_model"), task.inputs, outputs)


def taught(task, directory: Path) -> nn.Module:
    """A student with an adapter, which no wrapper around the module knows of."""
    student, teacher = digits_model(task, False), ModelTeacher(digits_model(task, False, 12), "wider")
    config = TaughtConfig.model_validate(
        {**CONFIG.model_dump(), "ema": 0.0, "teacher": "original", "features": "hidden_cosine"}
    )
    objective = Distillation(task, student, teacher, config, 0)
    return fit(student, task, config, seed=0, directory=directory, objective=objective).module


def main(out: Path) -> None:
    rank = int(os.environ["RANK"])
    task = Counted(paring.data.open("digits"))
    model = digits_model(task)
    unbroken = fit(model, task, CONFIG, seed=0, directory=out / "unbroken")
    # One process alone is asked to stop, or interrupted; the others follow.
    stopped = fit(model, task, CONFIG, seed=0, directory=out / "broken", until=lambda step: rank == 1 and step == 4)
    interrupted = False
    try:
        fit(model, task, CONFIG, seed=0, directory=out / "broken", until=lambda step: rank == 1 and strike(step))
    except KeyboardInterrupt:
        interrupted = True
    resumed = fit(model, task, CONFIG, seed=0, directory=out / "broken")
    plain = fit(digits_model(task, False), task, CONFIG, seed=0, directory=out / "plain")
    distilled = taught(task, out / "taught")
    apart = ""
    try:
        fit(model, task, CONFIG, seed=0, directory=out / ("unbroken" if rank else "empty"))
    except ParingError as error:
        apart = error.problem
    result = {
        "seen": task.seen[: 2 * PER_EPOCH],
        "unbroken": weights_digest(unbroken.module),
        "stopped": (stopped.steps, weights_digest(stopped.module)),
        "resumed": weights_digest(resumed.module),
        "interrupted": interrupted,
        "accuracies": [epoch.accuracy for epoch in unbroken.history],
        "loss": plain.history[-1].loss,
        "weight": plain.module[-1].weight[0].tolist(),
        "taught": distilled[0].weight.flatten().tolist(),
        "apart": apart,
    }
    (out / f"{rank}.json").write_text(json.dumps(result))


def strike(step: int) -> bool:
    if step == 12:
        signal.raise_signal(signal.SIGINT)
    return False


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    out = tmp_path_factory.mktemp("processes")
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc_per_node",
        "2",
        __file__,
        str(out),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    return [json.loads((out / f"{rank}.json").read_text()) for rank in range(2)]


@pytest.mark.slow
def test_processes_share_every_batch_and_end_alike(results, tmp_path):
    first, second = results
    assert [len(share) for share in first["seen"]] == [65] * 18
    assert [len(share) for share in second["seen"]] == [64] * 18
    for epoch in range(2):
        seen = [sample for result in results for share in result["seen"][9 * epoch : 9 * epoch + 9] for sample in share]
        assert len(seen) == PER_EPOCH * 129
        assert len(set(seen)) > 0.99 * len(seen)  # some digits are alike, pixel by pixel
    assert first["unbroken"] == second["unbroken"]
    assert first["accuracies"] == second["accuracies"]
    assert first["accuracies"][-1] > 0.5
    assert first["stopped"] == second["stopped"]
    assert first["stopped"][0] == 4
    # Going on is exact here, too, and neither stop nor interrupt leaves a process waiting.
    assert first["interrupted"]
    assert second["interrupted"]
    assert first["resumed"] == second["resumed"] == first["unbroken"]
    # Without batch statistics two processes compute what one does, up to rounding.
    task = paring.data.open("digits")
    alone = fit(digits_model(task, False), task, CONFIG, seed=0, directory=tmp_path)
    assert first["loss"] == pytest.approx(alone.history[-1].loss, rel=1e-4)
    assert first["weight"] == pytest.approx(alone.module[-1].weight[0].tolist(), abs=1e-4)
    assert first["taught"] == second["taught"]
    assert first["taught"] == pytest.approx(taught(task, tmp_path / "taught")[0].weight.flatten().tolist(), abs=1e-4)
    # Folders that the processes do not share are told, not waited for.
    assert "[0, 18]" in first["apart"]
    assert first["apart"] == second["apart"]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
