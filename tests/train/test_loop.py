"""The training loop. Run as a script, this file trains in a process of its own, to be killed."""

import copy
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

import paring.data
from paring.core.errors import ParingError
from paring.core.model import Model, Source, TensorSpec
from paring.train.config import TrainConfig
from paring.train.evaluate import accuracy
from paring.train.loop import STATE, Epoch, fit
from paring.train.state import load_state

CONFIG = TrainConfig(epochs=3, batch_size=128, label_smoothing=0.1, augment=True)
PER_EPOCH = 9
CONFIGS = {
    "sgd": CONFIG,
    "adamw": TrainConfig(
        epochs=3, optimizer="adamw", learning_rate=0.003, ema=0.8, keep="best", clip_norm=1.0, schedule="cosine"
    ),
    "bfloat16": TrainConfig(
        steps=24, precision="bfloat16", schedule="constant", channels_last=False, momentum=0.0, evaluate_every=2
    ),
}


def digits_model(task) -> Model:
    with torch.random.fork_rng():
        torch.manual_seed(7)
        module = nn.Sequential(
            *(nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU()),
            *(nn.Conv2d(8, 8, 3, padding=1, groups=4, bias=False), nn.Conv2d(8, 16, 1), nn.BatchNorm2d(16), nn.ReLU()),
            *(nn.Dropout(0.1), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(256, 10)),
        )
    outputs = (TensorSpec("logits", ("batch", 10)),)
    return Model(module.eval(), Source("torch:tests.train:digits_model"), task.inputs, outputs)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Sums are split among threads, so bits are compared at one number of them."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def task():
    return paring.data.open("digits")


@pytest.fixture(scope="module")
def model(task):
    return digits_model(task)


@pytest.fixture(scope="module")
def unbroken(model, task, tmp_path_factory):
    """An uninterrupted training for each configuration, made when asked for."""
    made = {}

    def get(name: str):
        if name not in made:
            made[name] = fit(model, task, CONFIGS[name], seed=0, directory=tmp_path_factory.mktemp(name))
        return made[name]

    return get


class Watched:
    """A task that does as another, told of each call."""

    def __init__(self, task, *, loss=None):
        self.task, self.splits, self.calls, self.change = task, [], 0, loss

    def __getattr__(self, name):
        return getattr(self.task, name)

    def batches(self, split, *args, **kwargs):
        self.splits.append((split, kwargs.get("shuffle"), kwargs.get("augment", False), kwargs.get("skip", 0)))
        return self.task.batches(split, *args, **kwargs)

    def loss(self, outputs, targets, label_smoothing=0.0):
        loss = self.task.loss(outputs, targets, label_smoothing)
        if self.change is None or not torch.is_grad_enabled():
            return loss
        self.calls += 1
        return self.change(self.calls, loss, outputs["logits"])


class Heard:
    """Progress, written down."""

    def __init__(self):
        self.notes, self.states, self.units, self.total = [], [], 0, 0

    @contextmanager
    def bar(self, label, total):
        def advance(units, state):
            self.units += units
            self.states.append(state)

        self.total = total
        yield advance

    def note(self, text):
        self.notes.append(text)


def same(one: nn.Module, other: nn.Module) -> bool:
    left, right = one.state_dict(), other.state_dict()
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def untimed(history: tuple[Epoch, ...]) -> list[Epoch]:
    return [replace(epoch, seconds=0.0) for epoch in history]


@pytest.mark.parametrize("name", CONFIGS)
def test_it_learns(model, task, tmp_path, name):
    length = {"augment": False, "batch_size": 32, "epochs": None, "steps": 4 * 39}
    config = TrainConfig(**{**CONFIGS[name].model_dump(), **length})
    fitted = fit(model, task, config, seed=0, directory=tmp_path)
    correct, total = accuracy(replace(model, module=fitted.module), task, "test")
    assert correct / total > 0.9


def test_history_tells_the_course(unbroken):
    fitted = unbroken("sgd")
    assert [epoch.number for epoch in fitted.history] == [1, 2, 3]
    assert fitted.history[0].loss > fitted.history[2].loss > 0
    assert fitted.history[2].accuracy > fitted.history[0].accuracy
    assert fitted.history[2].validation_loss < fitted.history[0].validation_loss
    assert fitted.history[2].learning_rate < fitted.history[1].learning_rate < CONFIG.learning_rate
    assert all(epoch.seconds > 0 for epoch in fitted.history)
    assert (fitted.steps, fitted.finished, fitted.kept) == (3 * PER_EPOCH, True, 3)
    # 24 steps end in the third epoch; evaluation every second epoch and at the end
    assert [epoch.accuracy is None for epoch in unbroken("bfloat16").history] == [True, False, False]
    assert unbroken("bfloat16").steps == 24


def test_result_is_an_ordinary_module_in_eval_mode(model, unbroken):
    for name in CONFIGS:
        module = unbroken(name).module
        assert type(module) is nn.Sequential
        assert vars(module).keys() == vars(model.module).keys()
        assert not any(part.training for part in module.modules())
        assert all(parameter.is_contiguous() and parameter.grad is None for parameter in module.parameters())


def test_input_and_the_callers_chance_are_untouched(model, task, tmp_path):
    before, mode = copy.deepcopy(model.module), [part.training for part in model.module.modules()]
    torch.manual_seed(5)
    expected = torch.rand(4)
    torch.manual_seed(5)
    fit(model, task, TrainConfig(steps=2), seed=0, directory=tmp_path)
    assert torch.equal(torch.rand(4), expected)
    assert same(model.module, before)
    assert [part.training for part in model.module.modules()] == mode
    assert all(parameter.grad is None for parameter in model.module.parameters())
    assert model.module[0].weight.is_contiguous()


def test_same_seed_same_bits_other_seed_other_bits(model, task, tmp_path, unbroken):
    torch.manual_seed(99)  # whatever the caller drew before
    again = fit(model, task, CONFIG, seed=0, directory=tmp_path / "again")
    assert same(again.module, unbroken("sgd").module)
    assert untimed(again.history) == untimed(unbroken("sgd").history)
    other = fit(model, task, CONFIG, seed=1, directory=tmp_path / "other")
    assert not same(other.module, unbroken("sgd").module)


def test_only_train_and_validation_are_read_each_epoch_in_its_own_order(model, task, tmp_path):
    watched = Watched(task)
    fit(model, watched, CONFIG, seed=0, directory=tmp_path)
    assert {split for split, *_ in watched.splits} == {"train", "validation"}
    assert not any(augment for split, _, augment, _ in watched.splits if split == "validation")
    orders = [(shuffle, augment) for split, shuffle, augment, _ in watched.splits if split == "train" and shuffle]
    assert len({shuffle for shuffle, _ in orders}) == 3
    assert all(augment for _, augment in orders)


def test_progress_counts_every_step_and_names_the_state(model, task, tmp_path):
    heard = Heard()
    fit(model, task, CONFIG, seed=0, directory=tmp_path, progress=heard, until=lambda step: step == 12)
    assert (heard.units, heard.total) == (12, 27)
    assert heard.states[0] == "epoch 1/3"
    assert heard.states[-1].startswith("epoch 2/3 · loss ")
    assert heard.states[-1].endswith(" %")
    heard = Heard()
    fit(model, task, CONFIG, seed=0, directory=tmp_path, progress=heard)
    assert (heard.units, heard.total) == (27, 27)
    assert heard.states[-1].startswith("epoch 3/3 · loss ")


def test_averaged_weights_are_those_returned(model, task, tmp_path):
    plain = fit(model, task, TrainConfig(epochs=1, schedule="constant"), seed=0, directory=tmp_path / "plain")
    averaged = fit(
        model, task, TrainConfig(epochs=1, schedule="constant", ema=0.9), seed=0, directory=tmp_path / "averaged"
    )
    state = load_any(tmp_path / "averaged")
    assert torch.equal(state["parts"]["module"]["10.weight"], plain.module[10].weight)
    assert not torch.equal(averaged.module[10].weight, plain.module[10].weight)
    assert averaged.history[0].accuracy != plain.history[0].accuracy


def test_best_weights_are_those_returned(model, task, tmp_path):
    backwards = Watched(task, loss=lambda call, loss, logits: loss if call <= PER_EPOCH else -loss)
    config = TrainConfig(epochs=2, keep="best")
    best = fit(model, backwards, config, seed=0, directory=tmp_path / "unbroken")
    assert best.kept == 1
    assert best.history[1].accuracy < best.history[0].accuracy
    correct, total = accuracy(replace(model, module=best.module), task, "validation")
    assert correct / total == best.history[0].accuracy
    backwards.calls = 0
    fit(model, backwards, config, seed=0, directory=tmp_path / "stopped", until=lambda step: step == PER_EPOCH + 2)
    resumed = fit(model, backwards, config, seed=0, directory=tmp_path / "stopped")
    assert resumed.kept == 1
    assert same(resumed.module, best.module)


def test_a_plateau_lowers_the_rate_also_after_a_stop(model, task, tmp_path):
    backwards = Watched(task, loss=lambda call, loss, logits: loss if call <= PER_EPOCH else -loss)
    config = TrainConfig(epochs=4, schedule="plateau", factor=0.5, patience=0, warmup=0.0, learning_rate=0.02)
    unbroken = fit(model, backwards, config, seed=0, directory=tmp_path / "unbroken")
    accuracies = [epoch.accuracy for epoch in unbroken.history]
    assert accuracies[1] < accuracies[0]
    assert [epoch.learning_rate for epoch in unbroken.history] == [0.02, 0.02, 0.01, 0.005]
    backwards.calls = 0
    for stop in (2 * PER_EPOCH, 2 * PER_EPOCH + 1, 3 * PER_EPOCH + 4):
        fit(
            model, backwards, config, seed=0, directory=tmp_path / "stopped", until=lambda step, stop=stop: step == stop
        )
    resumed = fit(model, backwards, config, seed=0, directory=tmp_path / "stopped")
    assert same(resumed.module, unbroken.module)
    assert untimed(resumed.history) == untimed(unbroken.history)


# --- going on ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("stops", [(1,), (5, 6, 20), (PER_EPOCH,), (2 * PER_EPOCH - 1,)])
def test_stopped_training_goes_on_to_the_same_bits(model, task, tmp_path, unbroken, name, stops):
    for stop in stops:
        part = fit(model, task, CONFIGS[name], seed=0, directory=tmp_path, until=lambda step, stop=stop: step == stop)
        assert (part.steps, part.finished) == (stop, False)
        assert len(part.history) == stop // PER_EPOCH
    fitted = fit(model, task, CONFIGS[name], seed=0, directory=tmp_path)
    assert same(fitted.module, unbroken(name).module)
    assert untimed(fitted.history) == untimed(unbroken(name).history)
    assert (fitted.steps, fitted.finished, fitted.kept) == (unbroken(name).steps, True, unbroken(name).kept)


def test_finished_training_is_not_done_again(model, task, tmp_path):
    first = fit(model, task, TrainConfig(epochs=1), seed=0, directory=tmp_path)
    watched = Watched(task)
    again = fit(model, watched, TrainConfig(epochs=1), seed=0, directory=tmp_path)
    assert watched.splits == [("train", None, False, 0)]  # the trial of two samples
    assert same(first.module, again.module)
    assert first.history == again.history


@pytest.mark.parametrize(("name", "moment"), [("sgd", 4), ("adamw", 13)])
def test_killed_training_goes_on_to_the_same_bits(model, task, tmp_path, unbroken, name, moment):
    command = [sys.executable, __file__, str(tmp_path), name]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        for line in process.stdout:
            if int(line) == moment:
                process.kill()
                break
    assert process.returncode == -signal.SIGKILL
    position = load_any(tmp_path)["position"]
    reached = position["epoch"] * PER_EPOCH + position["batch"]
    assert moment - 1 <= reached < 3 * PER_EPOCH
    watched, heard = Watched(task), Heard()
    fitted = fit(model, watched, CONFIGS[name], seed=0, directory=tmp_path, progress=heard)
    assert heard.notes == []
    assert watched.splits[1][3] == position["batch"]  # went on, not began anew
    assert same(fitted.module, unbroken(name).module)
    assert untimed(fitted.history) == untimed(unbroken(name).history)
    assert [found.name for found in tmp_path.iterdir()] == [STATE]


def test_interrupt_waits_for_the_step_saves_and_goes_on_to_the_same_bits(model, task, tmp_path, unbroken):
    def ctrl_c(call, loss, logits):
        if call == 12:
            signal.raise_signal(signal.SIGINT)  # in the midst of a step
        return loss

    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            fit(model, Watched(task, loss=ctrl_c), CONFIG, seed=0, directory=tmp_path)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, previous)
    position = load_any(tmp_path)["position"]
    assert (position["epoch"], position["batch"]) == (1, 3)
    fitted = fit(model, task, CONFIG, seed=0, directory=tmp_path)
    assert same(fitted.module, unbroken("sgd").module)


def test_state_is_saved_by_the_clock_within_an_epoch(model, task, tmp_path):
    def stop(call, loss, logits):
        if call == 6:
            raise RuntimeError("out of power")
        return loss

    for seconds, reached in ((0.0, True), (3600.0, False)):
        folder = tmp_path / str(seconds)
        with pytest.raises(RuntimeError, match="power"):
            fit(model, Watched(task, loss=stop), CONFIG, seed=0, directory=folder, checkpoint_every=seconds)
        assert (folder / STATE).exists() is reached
    assert load_any(tmp_path / "0.0")["position"]["batch"] == 5


@pytest.mark.parametrize("change", ["seed", "config", "weights", "task"])
def test_state_of_another_training_is_ignored(model, task, tmp_path, change):
    config = TrainConfig(steps=4)
    fit(model, task, config, seed=0, directory=tmp_path, until=lambda step: step == 2)
    seed = 1 if change == "seed" else 0
    if change == "config":
        config = TrainConfig(steps=4, label_smoothing=0.01)
    if change == "weights":
        model = replace(model, module=copy.deepcopy(model.module))
        model.module[0].bias.data[0] += 1e-3
    if change == "task":
        task = Watched(task)
        task.identity = "another"
    heard = Heard()
    fitted = fit(model, task, config, seed=seed, directory=tmp_path, progress=heard)
    assert heard.states[0] == "epoch 1/1"
    fresh = fit(model, task, config, seed=seed, directory=tmp_path / "fresh")
    assert same(fitted.module, fresh.module)
    assert heard.notes == []


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty"])
def test_damaged_state_is_reported_and_training_starts_again(model, task, tmp_path, unbroken, damage):
    fit(model, task, CONFIG, seed=0, directory=tmp_path, until=lambda step: step == 12)
    state = tmp_path / STATE
    data = bytearray(state.read_bytes())
    data[len(data) // 2] ^= 4
    state.write_bytes({"truncated": data[: len(data) // 3], "flipped": data, "empty": b""}[damage])
    heard = Heard()
    fitted = fit(model, task, CONFIG, seed=0, directory=tmp_path, progress=heard)
    assert len(heard.notes) == 1
    assert "damaged" in heard.notes[0]
    assert str(state) in heard.notes[0]
    assert same(fitted.module, unbroken("sgd").module)


# --- what goes wrong --------------------------------------------------------------------------------------------


def load_any(directory: Path):
    """The state in `directory`, whatever training it belongs to."""
    import json

    from safetensors import safe_open

    with safe_open(directory / STATE, framework="pt") as file:
        fingerprint = json.loads(file.metadata()["state"])["fingerprint"]
    return load_state(directory / STATE, fingerprint)


@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
def test_loss_that_is_not_finite(model, task, tmp_path, unbroken, poison):
    spoiled = Watched(task, loss=lambda call, loss, logits: loss * poison if call == PER_EPOCH + 3 else loss)
    with pytest.raises(ParingError) as caught:
        fit(model, spoiled, CONFIG, seed=0, directory=tmp_path, checkpoint_every=0)
    assert f"the loss is {poison} in epoch 2, step 3 of 9" in caught.value.problem
    assert "lower learning_rate" in caught.value.remedy
    assert "0.1" in caught.value.remedy
    # The state is the one before: a healthy training goes on from it.
    assert load_any(tmp_path)["position"]["batch"] == 2
    assert same(fit(model, task, CONFIG, seed=0, directory=tmp_path).module, unbroken("sgd").module)


@pytest.mark.parametrize("step", [4, PER_EPOCH])
def test_weights_that_are_not_finite_are_not_saved(model, task, tmp_path, step):
    def infinite_gradient(call, loss, logits):  # of a finite loss: sqrt has one at 0
        return loss + (logits - logits.detach()).abs().sum().sqrt() if call == step else loss

    spoiled = Watched(task, loss=infinite_gradient)
    with pytest.raises(ParingError, match=rf"no longer finite in epoch 1, step {step} of 9") as caught:
        fit(model, spoiled, CONFIG, seed=0, directory=tmp_path, checkpoint_every=0)
    assert str(tmp_path / STATE) in caught.value.problem
    state = load_any(tmp_path)
    assert state["position"]["batch"] == step - 1
    assert all(tensor.isfinite().all() for tensor in state["parts"]["module"].values())


def refusal(model, task, config=CONFIG, **kwargs) -> ParingError:
    watched = Watched(task)
    with pytest.raises(ParingError) as caught:
        fit(model, watched, config, seed=0, directory=Path("never-made"), **kwargs)
    assert not any(shuffle is not None for _, shuffle, *_ in watched.splits)  # before any training
    assert not Path("never-made").exists()
    return caught.value


def test_weights_that_are_not_finite_at_the_start(model, task):
    broken = replace(model, module=copy.deepcopy(model.module))
    broken.module[5].running_var[3] = float("nan")
    assert "5.running_var" in refusal(broken, task).problem


def test_nothing_to_train(model, task):
    frozen = replace(model, module=copy.deepcopy(model.module).requires_grad_(False))
    assert "no parameter is trainable" in refusal(frozen, task).problem


def test_input_that_does_not_fit(model, task):
    (spec,) = model.inputs
    wrong = replace(model, inputs=(replace(spec, shape=("batch", 3, 8, 8)),))
    error = refusal(wrong, task)
    assert "('batch', 3, 8, 8)" in error.problem
    assert "(2, 1, 8, 8)" in error.problem
    misnamed = replace(model, inputs=(replace(spec, name="pixels"),))
    assert "pixels is not among those of the task digits: image" in refusal(misnamed, task).problem
    # a module that does not take what its own specification says
    broken = replace(model, module=nn.Sequential(nn.Flatten(), nn.Linear(65, 10)).eval())
    error = refusal(broken, task)
    assert "fails on a batch of the task digits" in error.problem
    assert "64" in error.problem


def test_outputs_that_do_not_fit(model, task):
    few = replace(model, module=nn.Sequential(nn.Flatten(), nn.Linear(64, 9)).eval())
    error = refusal(few, task)
    assert "10 labels, the model 9 outputs" in error.problem
    assert "10 outputs" in error.remedy
    flat = replace(model, module=nn.Sequential(nn.Flatten(), nn.Linear(64, 10), nn.Flatten(0)).eval())
    assert "not (batch, classes)" in refusal(flat, task).problem


def test_batch_that_the_split_cannot_fill(model, task):
    error = refusal(model, task, TrainConfig(batch_size=5000))
    assert "batch_size=5000" in error.problem
    assert str(task.size("train")) in error.remedy


def test_task_that_gives_less_than_it_promises(model, task, tmp_path):
    class Short(Watched):
        def batches(self, split, *args, **kwargs):
            given = list(super().batches(split, *args, **kwargs))
            return iter(given[:4] if kwargs.get("shuffle") else given)

    with pytest.raises(ParingError, match="gave 4 training batches of 128 where its size promises 9"):
        fit(model, Short(task), CONFIG, seed=0, directory=tmp_path)


def main(directory: str, name: str) -> None:
    """Trains until killed, telling each step that is done."""
    torch.set_num_threads(1)
    task = paring.data.open("digits")

    def tell(step: int) -> bool:
        print(step, flush=True)
        time.sleep(0.03)  # leaves the other side time to strike
        return False

    fit(
        digits_model(task),
        task,
        CONFIGS[name],
        seed=0,
        directory=Path(directory),
        until=tell,
        checkpoint_every=0.0,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
