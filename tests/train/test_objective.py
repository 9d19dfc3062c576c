"""What a training makes small."""

import pytest
import torch

from paring.core.model import Model
from paring.testing.models import TinyTask, tiny
from paring.train.config import TaughtConfig, TrainConfig
from paring.train.loop import fit
from paring.train.objective import SoftTargets, TaskLoss


@pytest.fixture
def batch():
    return next(iter(TinyTask().batches("train", 16)))


def objective(**options: object) -> SoftTargets:
    return SoftTargets(TinyTask(), tiny(1), TaughtConfig(teacher="original", **options))


def test_without_a_share_the_teacher_is_not_heard(batch):
    outputs = {"output": torch.randn(16, 10)}
    labels = TinyTask().loss(outputs, batch.targets, 0.1)
    assert objective(teacher_share=0.0, label_smoothing=0.1)(batch.inputs, outputs, batch.targets) == labels
    assert TaskLoss(TinyTask(), 0.1)(batch.inputs, outputs, batch.targets) == labels


def test_only_the_teachers_own_answers_cost_nothing(batch):
    taught = tiny(1)(batch.inputs)["output"].clone()
    only = objective(teacher_share=1.0)
    assert only(batch.inputs, {"output": taught}, batch.targets).item() == pytest.approx(0, abs=1e-5)
    assert only(batch.inputs, {"output": taught + torch.randn(16, 10)}, batch.targets) > 0.01


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_it_is_hintons_formula(batch, temperature):
    learned, taught = torch.randn(16, 10), tiny(1)(batch.inputs)["output"].clone()
    soft_taught, soft = (logits.div(temperature).softmax(1) for logits in (taught, learned))
    divergence = (soft_taught * (soft_taught / soft).log()).sum(1).mean() * temperature**2
    wanted = 0.7 * TinyTask().loss({"output": learned}, batch.targets) + 0.3 * divergence
    found = objective(temperature=temperature, teacher_share=0.3)(batch.inputs, {"output": learned}, batch.targets)
    torch.testing.assert_close(found, wanted)


def test_a_training_goes_on_only_from_a_state_of_its_own_teacher(tmp_path):
    task, config = TinyTask(), TaughtConfig(steps=4, batch_size=16, teacher="original", learning_rate=0.01)

    def trained(folder: str, teacher: Model, **options: object):
        found = SoftTargets(task, teacher, config)
        return fit(tiny(), task, config, seed=0, directory=tmp_path / folder, objective=found, **options)

    whole = trained("whole", tiny(1)).module.state_dict()
    other = trained("other", tiny(2)).module.state_dict()
    assert not torch.equal(whole["classifier.weight"], other["classifier.weight"])
    trained("stopped", tiny(1), until=lambda step: step == 2)
    again = trained("stopped", tiny(1)).module.state_dict()
    assert all(torch.equal(tensor, again[name]) for name, tensor in whole.items())
    trained("changed", tiny(1), until=lambda step: step == 2)
    again = trained("changed", tiny(2)).module.state_dict()
    assert all(torch.equal(tensor, again[name]) for name, tensor in other.items())


def test_the_teacher_is_untouched(batch):
    teacher = tiny(1)
    before = {name: tensor.clone() for name, tensor in teacher.module.state_dict().items()}
    teacher.module.train()
    SoftTargets(TinyTask(), teacher, TaughtConfig())(batch.inputs, {"output": torch.randn(16, 10)}, batch.targets)
    assert teacher.module.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in teacher.module.state_dict().items())


def test_the_tasks_own_loss_is_what_is_made_small_where_none_is_named(tmp_path):
    config = TrainConfig(steps=2, batch_size=16)
    plain = fit(tiny(), TinyTask(), config, seed=0, directory=tmp_path / "a")
    same = fit(tiny(), TinyTask(), config, seed=0, directory=tmp_path / "b", objective=TaskLoss(TinyTask(), 0.0))
    assert torch.equal(plain.module.classifier.weight, same.module.classifier.weight)
