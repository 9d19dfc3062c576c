"""The loss of a student, and a training with it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from paring import load
from paring.core.errors import ParingError
from paring.core.model import Invariant, Model, TensorSpec
from paring.core.step import Context, Named
from paring.core.target import Limits
from paring.core.task import Batch
from paring.testing.models import TinyTask, tiny
from paring.train.config import RecoverConfig, TaughtConfig
from paring.train.distillation.distillation import Distillation, taught
from paring.train.distillation.teacher import Ensemble, FileTeacher, ModelTeacher
from paring.train.evaluate import evaluate
from paring.train.loop import fit
from paring.train.recovery import recover

EVERY = ["hints", "attention_transfer", "hidden_cosine", {"relational": {"layers": "auto"}}]


class Wide(nn.Module):
    """A teacher with the same classes, wider and deeper than the tiny network."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 12, 3, stride=2, padding=1), nn.ReLU())
        self.body = nn.Sequential(nn.Conv2d(12, 12, 3, padding=1), nn.ReLU(), nn.Conv2d(12, 12, 1))
        self.classifier = nn.Linear(12, 10)

    def forward(self, image):
        return self.classifier(self.body(self.stem(image)).mean((2, 3)))


def wide(seed: int = 0) -> Model:
    torch.manual_seed(seed)
    return replace(tiny(), module=Wide().eval())


@pytest.fixture
def batch():
    return next(iter(TinyTask().batches("train", 16)))


def config(**options: object) -> TaughtConfig:
    return TaughtConfig.model_validate({"teacher": "original", "steps": 4, "batch_size": 16, **options})


def objective(teacher: Model | None = None, **options: object) -> Distillation:
    return Distillation(TinyTask(), tiny(), ModelTeacher(teacher or tiny(1), "it"), config(**options), 0)


def context(directory, original: Model, **more: object) -> Context:
    every = frozenset({"float32", "int8"})
    return Context(TinyTask(), Limits(every, every), 0, original, directory, **more)


def test_without_a_share_the_teacher_is_not_heard(batch):
    outputs = {"output": torch.randn(16, 10)}
    labels = TinyTask().loss(outputs, batch.targets, 0.1)
    assert objective(teacher_share=0.0, label_smoothing=0.1)(batch, outputs) == labels


def test_only_the_teachers_own_answers_cost_nothing(batch):
    answers = tiny(1)(batch.inputs)["output"].clone()
    only = objective(teacher_share=1.0)
    assert only(batch, {"output": answers}).item() == pytest.approx(0, abs=1e-5)
    assert only(batch, {"output": answers + torch.randn(16, 10)}) > 0.01


def test_labels_and_teacher_share_the_loss(batch):
    outputs = {"output": torch.randn(16, 10)}
    labels, soft = (objective(teacher_share=share)(batch, outputs) for share in (0.0, 1.0))
    torch.testing.assert_close(objective(teacher_share=0.3)(batch, outputs), 0.7 * labels + 0.3 * soft)


def test_decoupled_takes_the_place_of_soft_targets(batch):
    outputs = {"output": torch.randn(16, 10)}
    first, second = (objective(teacher_share=1.0, decoupled={"beta": beta})(batch, outputs) for beta in (1.0, 3.0))
    soft = objective(teacher_share=1.0)(batch, outputs)
    assert second > first > 0
    assert not torch.isclose(first, soft)


def test_features_are_added_with_their_weights(batch):
    student, teacher = tiny(), wide()

    def loss(weight: float):
        found = Distillation(
            TinyTask(), student, ModelTeacher(teacher, "it"),
            config(teacher_share=1.0, features=[{"hints": {"weight": weight}}]), 0,
        )  # fmt: skip
        with found.listening(student.module):
            return found(batch, {"output": student.module(batch.inputs["image"])}).item()

    plain = Distillation(TinyTask(), student, ModelTeacher(teacher, "it"), config(teacher_share=1.0), 0)
    answers = plain(batch, student(batch.inputs)).item()
    assert loss(2.0) - answers == pytest.approx(2 * (loss(1.0) - answers), rel=1e-3)
    assert loss(1.0) > answers


def test_a_factorized_layer_is_paired_as_the_one_layer_that_it_was():
    student, teacher = wide(1), wide()
    student.module.body[2] = nn.Sequential(nn.Conv2d(12, 4, 1), nn.Conv2d(4, 12, 1))
    apart = replace(student, invariants=(Invariant("rank", "body.2", {}),))
    told = [
        Distillation(TinyTask(), one, ModelTeacher(teacher, "it"), config(features=["hints"]), 0).told
        for one in (student, apart)
    ]
    assert ["body.2 ← body.2" in one for one in told] == [False, True]


def test_the_pairing_is_told():
    told = objective(wide(), features=["hints"]).told
    assert told.startswith("taught by it; hints: stem.0 ← stem.0, body.")


@pytest.mark.parametrize("features", EVERY)
def test_a_student_becomes_more_like_its_teacher_inside(tmp_path, features):
    options = config(teacher_share=0.0, features=[features], steps=60, learning_rate=0.05)

    def feature_loss(student: Model) -> float:
        """Of the trained adapters, on what they were trained on."""
        found.config = options.model_copy(update={"teacher_share": 0.0})
        total = 0.0
        for one in TinyTask().batches("train", 32):
            with torch.no_grad(), found.listening(student.module):
                student.module(one.inputs["image"])
                found.teacher(one)
                total += found._features(one.inputs).item()
        return total

    found = Distillation(TinyTask(), tiny(), ModelTeacher(wide(), "it"), options, 0)
    before = feature_loss(tiny())
    fitted = fit(tiny(), TinyTask(), options, seed=0, directory=tmp_path, objective=found)
    assert feature_loss(replace(tiny(), module=fitted.module)) < 0.8 * before
    assert not any(module._forward_hooks for module in fitted.module.modules())


def test_adapters_are_trained_and_thrown_away(tmp_path):
    found = objective(wide(), features=["hints"])
    before = [one.clone() for one in found.adapters.parameters()]
    assert before
    fitted = fit(tiny(), TinyTask(), config(), seed=0, directory=tmp_path, objective=found)
    assert all(not torch.equal(a, b) for a, b in zip(before, found.adapters.parameters(), strict=True))
    assert fitted.module.state_dict().keys() == tiny().module.state_dict().keys()


def test_a_killed_training_goes_on_with_its_adapters_and_only_with_its_own_teacher(tmp_path):
    def trained(folder: str, teacher: Model, **options: object):
        found = objective(teacher, features=["hints"], teacher_share=0.5)
        return fit(tiny(), TinyTask(), config(), seed=0, directory=tmp_path / folder, objective=found, **options)

    whole, other = (trained(f"whole{seed}", wide(seed)).module.state_dict() for seed in (0, 1))
    assert not torch.equal(whole["classifier.weight"], other["classifier.weight"])
    trained("stopped", wide(0), until=lambda step: step == 2)
    again = trained("stopped", wide(0)).module.state_dict()
    assert all(torch.equal(tensor, again[name]) for name, tensor in whole.items())
    trained("changed", wide(0), until=lambda step: step == 2)
    again = trained("changed", wide(1)).module.state_dict()
    assert all(torch.equal(tensor, again[name]) for name, tensor in other.items())


def test_the_teacher_is_untouched(batch):
    teacher = wide()
    before = {name: tensor.clone() for name, tensor in teacher.module.state_dict().items()}
    teacher.module.train()
    found = objective(teacher, features=["hints"])
    student = tiny().module
    with found.listening(student):
        found(batch, {"output": student(batch.inputs["image"])}).backward()
    assert teacher.module.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in teacher.module.state_dict().items())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in teacher.module.parameters())


def test_the_average_is_evaluated_and_is_what_stays(tmp_path):
    found = objective(wide(), features=["hints"])
    fitted = fit(tiny(), TinyTask(), config(ema=0.9), seed=0, directory=tmp_path, objective=found)
    assert not any(module._forward_hooks for module in fitted.module.modules())
    assert fitted.history[-1].accuracy == evaluate(
        replace(tiny(), module=fitted.module), TinyTask(), "validation"
    ).accuracy  # fmt: skip


def test_several_teachers_answer_by_the_mean_of_their_logarithms(batch):
    both = Ensemble([ModelTeacher(tiny(seed), str(seed)) for seed in (1, 2)])
    logs = [tiny(seed)(batch.inputs)["output"].log_softmax(1) for seed in (1, 2)]
    torch.testing.assert_close(both(batch), (logs[0] + logs[1]) / 2)
    assert both.identity != Ensemble([ModelTeacher(tiny(seed), str(seed)) for seed in (2, 1)]).identity


def test_teachers_are_opened_by_their_names(tmp_path):
    there = {"a": tiny(1), "b": tiny(2)}
    opened = context(tmp_path, tiny(3), opened=lambda named: there[named.model])
    assert taught(tiny(), TaughtConfig(), opened, None, tmp_path) is None
    found = taught(tiny(), config(teacher=["a", "original", "b"]), opened, None, tmp_path)
    assert found.told == "taught by a, the original, b"
    with pytest.raises(ParingError, match="only a recipe opens"):
        taught(tiny(), config(teacher="a"), context(tmp_path, tiny()), None, tmp_path)


def test_an_exported_file_teaches_in_its_runtime(tmp_path, batch):
    from paring.targets import of_file
    from paring.targets.litert import LiteRT

    file = LiteRT().export(tiny(1), tmp_path / "teacher.tflite")
    opened = context(tmp_path / "work", tiny(), opened=lambda named: of_file(file).open(file))
    found = taught(tiny(), config(teacher=str(file), teacher_share=1.0), opened, None, tmp_path)
    answers = tiny(1)(batch.inputs)["output"]
    assert found(batch, {"output": answers}).item() == pytest.approx(0, abs=1e-4)
    with pytest.raises(ParingError, match="nobody sees into"):
        taught(tiny(), config(teacher=str(file), features=["hints"]), opened, None, tmp_path)


class Texts:
    """A file in its runtime, for texts of four tokens."""

    inputs = outputs = (TensorSpec("ids", ("batch", 4), "int64"),)
    runtime, threads = "none", 1

    def run(self, inputs):
        return {"output": inputs["ids"].astype(np.float32)}


def test_shorter_texts_are_padded_for_a_file_and_longer_ones_refused():
    class Task(TinyTask):
        inputs = Texts.inputs

    teacher = FileTeacher(Texts(), "texts.tflite", Task(), "0")

    def answers(length):
        return teacher(Batch({"ids": torch.ones(2, length, dtype=torch.int64)}, torch.zeros(2, dtype=torch.int64)))

    assert answers(3).tolist() == [[1, 1, 1, 0]] * 2
    with pytest.raises(ParingError, match="texts of 4 tokens, the data give 5"):
        answers(5)


def test_other_classes_and_other_inputs_are_told(tmp_path):
    other = replace(tiny(), module=nn.Sequential(nn.Flatten(), nn.Linear(64, 7)).eval())
    with pytest.raises(ParingError, match="teacher tells 7 classes apart, the student 10"):
        objective(other)
    inputs = replace(tiny(), module=nn.Sequential(nn.Flatten(), nn.Linear(65, 10)).eval())
    with pytest.raises(ParingError, match="cannot be fed with the student's inputs"):
        objective(inputs)
    named = load.open("torch:paring.testing.networks:tiny_network", shape=(1, 8, 8))
    renamed = replace(named, inputs=(replace(named.inputs[0], name="picture"),))
    with pytest.raises(ParingError, match="cannot be fed"):
        objective(renamed)
    broken = tiny(1)
    with torch.no_grad():
        broken.module.classifier.weight.fill_(float("nan"))
    with pytest.raises(ParingError, match="not finite"):
        objective(broken)


class Notes:
    def __init__(self):
        self.notes = []

    def bar(self, label, total):
        from paring.core.progress import Silent

        return Silent().bar(label, total)

    def note(self, text):
        self.notes.append(text)


def test_a_teacher_that_is_worse_than_the_student_is_told_of(tmp_path):
    progress = Notes()
    trained = fit(tiny(), TinyTask(), RecoverConfig(epochs=10, batch_size=16, learning_rate=0.1), seed=0,
                  directory=tmp_path / "a")  # fmt: skip
    good = replace(tiny(), module=trained.module)
    options = RecoverConfig.model_validate({"teacher": "original", "steps": 1, "batch_size": 16})
    recover(good, options, replace(context(tmp_path / "b", tiny()), progress=progress))
    assert "little can be learned from it" in progress.notes[0]
    recover(tiny(), options, replace(context(tmp_path / "c", good), progress=progress))
    assert len(progress.notes) == 1


def test_a_teacher_follows_to_the_device_of_the_student():
    found = ModelTeacher(tiny(1), "it")
    module = found.on(torch.device("cpu"))
    assert not any(one.is_meta for one in module.parameters())
    assert found.on(torch.device("meta")) is module  # so that who listens goes on hearing
    assert all(one.is_meta for one in module.parameters())
    assert not any(one.is_meta for one in found.model.module.parameters())


def test_kept_answers_are_asked_for_once_and_give_the_same_training(tmp_path):
    def trained(folder: str, **options: object):
        options = config(epochs=2, steps=None, teacher_share=0.9, **options)
        found = taught(tiny(), options, context(tmp_path / folder, tiny(1)), None, tmp_path / folder)
        return fit(tiny(), TinyTask(), options, seed=0, directory=tmp_path / folder, objective=found).module, found

    asked, _ = trained("asked")
    kept, found = trained("kept", keep_answers=True)
    torch.testing.assert_close(kept.state_dict(), asked.state_dict())
    (answers,) = (tmp_path / "kept").glob("teacher-*[0-9a-f].npy")
    assert np.load(answers).shape == (96, 10)
    stamp = answers.stat().st_mtime_ns
    found = taught(tiny(), config(keep_answers=True), context(tmp_path / "kept", tiny(1)), None, tmp_path / "kept")
    assert answers.stat().st_mtime_ns == stamp
    assert found.told == "taught by the original"


def test_kept_answers_do_not_go_with_samples_changed_at_random(tmp_path):
    with pytest.raises(ParingError, match="leave keep_answers out, or augment"):
        taught(tiny(), config(keep_answers=True, augment=True), context(tmp_path, tiny(1)), None, tmp_path)


def test_recovery_tells_who_taught(tmp_path):
    options = RecoverConfig.model_validate(
        {"teacher": {"model": "original"}, "features": "hints", "steps": 2, "batch_size": 16}
    )
    _, line = recover(tiny(), options, context(tmp_path, wide()))
    assert "taught by the original; hints: " in line
    assert Named(model="original").named == ()
