"""Students: fewer layers, narrower ones, another architecture."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

import paring
from paring import data, load
from paring.compression import Compression
from paring.core.errors import ParingError, UnknownName
from paring.core.model import Event, Invariant, Model, TensorSpec
from paring.core.progress import Silent
from paring.core.rundir import RunDirectory
from paring.core.step import Context
from paring.core.target import ExportOptions
from paring.load import saved, weights
from paring.measure import cost
from paring.recipes.read import read
from paring.steps import keep_invariants
from paring.steps.distill.student import DistillStudent, StudentConfig, spread
from paring.steps.prune.structure import residual
from paring.targets.litert import LiteRT
from paring.targets.onnxruntime import ONNXRuntime
from paring.testing.models import TinyTask, quantized, tiny
from paring.testing.networks import see_data
from paring.testing.steps import StepContract
from paring.testing.transformers import Drawn, drawn, family

SHORT = {"steps": 2, "batch_size": 16, "learning_rate": 0.001, "teacher": "original"}
STUDENT = "zoo:resnet8(classes=10)"
LAYER = "model.bert.encoder.layer"


def options(**given: Any) -> StudentConfig:
    return StudentConfig.model_validate(given)


def resnet(depth: int = 20) -> Model:
    """ResNet-20 or ResNet-8 for 8×8 gray images, with batch norms that have seen data."""
    model = load.open(f"zoo:resnet{depth}(classes=10)", shape=(1, 8, 8))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        see_data(model.module)
    return model


def opened(named: Any) -> Model:
    weights = None if named.weights is None else Path(named.weights)
    shape = None if load.is_saved(named.model) else (1, 8, 8)
    return load.open(named.model, weights=weights, shape=shape)


def around(model: Model, folder: Path, **more: Any) -> Context:
    task = Drawn(model) if "input_ids" in {spec.name for spec in model.inputs} else TinyTask()
    return Context(task, LiteRT.limits, 0, model, folder / "work", **{"opened": opened, **more})


def student(teacher: Model, folder: Path, **given: Any) -> Model:
    return DistillStudent().apply(teacher, options(**given), around(teacher, folder))


class Contract(StepContract):
    @pytest.fixture
    def step(self):
        return DistillStudent()

    @pytest.fixture
    def context(self, model, tmp_path):
        return around(model, tmp_path)


class TestContractOfLayers(Contract):
    @pytest.fixture
    def config(self):
        return options(layers=3, recover=SHORT)

    @pytest.fixture
    def model(self):
        return resnet()


class TestContractOfWidth(Contract):
    @pytest.fixture
    def config(self):
        return options(width=0.5, round_to=2, recover=SHORT)


class TestContractOfAnotherModel(Contract):
    @pytest.fixture
    def config(self):
        return options(model=STUDENT, recover=SHORT)


@given(st.integers(1, 60).flatmap(lambda n: st.tuples(st.integers(1, n), st.just(n))))
def test_positions_are_spread_from_the_first_to_the_last(case: tuple[int, int]) -> None:
    count, among = case
    found = spread(count, among)
    assert len(set(found)) == count
    assert list(found) == sorted(found)
    assert found[0] == 0
    assert count == 1 or found[-1] == among - 1
    gaps = {b - a for a, b in pairwise(found)}
    assert max(gaps, default=0) - min(gaps, default=0) <= 1


def test_half_of_twelve_are_those_of_distilbert() -> None:
    assert spread(6, 12) == (0, 2, 4, 7, 9, 11)


def test_every_other_layer_of_a_transformer_keeps_the_teachers_weights(tmp_path: Path) -> None:
    teacher = family("bert", num_hidden_layers=4)
    found = student(teacher, tmp_path, layers=[0, 2])
    assert [name.rsplit(".", 1)[1] for name in residual.find(found).removable] == ["0", "2"]
    mine, theirs = found.module.state_dict(), teacher.module.state_dict()
    assert {name for name in theirs if f"{LAYER}.1." not in name and f"{LAYER}.3." not in name} == set(mine)
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in mine.items())
    assert "kept 2 of 4 blocks" in found.history[-1].changed
    assert f"parameters {cost.parameters(teacher):,} → {cost.parameters(found):,}" in found.history[-1].changed

    answers = found(drawn(teacher))["output"]
    assert not torch.allclose(answers, teacher(drawn(teacher))["output"])
    again = saved.load(saved.save(found, tmp_path / "student.safetensors"))
    assert torch.equal(again(drawn(teacher))["output"], answers)
    runner = LiteRT().open(LiteRT().export(found, tmp_path / "student.tflite"))
    ran = runner.run({name: tensor.numpy() for name, tensor in drawn(teacher).items()})["output"]
    np.testing.assert_allclose(ran, answers.numpy(), rtol=1e-3, atol=1e-4)


def test_a_count_is_the_same_as_its_positions(tmp_path: Path) -> None:
    teacher = family("bert", num_hidden_layers=4)
    one, other = (student(teacher, tmp_path, layers=layers) for layers in (2, [0, 3]))
    assert residual.find(one) == residual.find(other)


def test_positions_count_what_the_patterns_leave(tmp_path: Path) -> None:
    model = resnet()
    free = residual.find(model).removable
    assert free[:4] == ("stages.0.0", "stages.0.1", "stages.0.2", "stages.1.1")
    found = student(model, tmp_path, layers=[1], only=["stages.0"])
    assert set(free) - set(residual.find(found).removable) == {"stages.0.0", "stages.0.2"}
    found = student(model, tmp_path, layers=[1], only=["stages.0"], keep=["stages.0.0"])
    assert set(free) - set(residual.find(found).removable) == {"stages.0.1"}
    found = student(model, tmp_path, layers=[0, 3])  # through all lists
    assert set(residual.find(found).removable) == {"stages.0.0", "stages.1.1"}
    assert "batch norms re-estimated" in found.history[-1].changed


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"layers": [0, 7]}, r"there is no block 7\n.*0 stages.0.0, 1 stages.0.1"),
        ({"layers": 7}, "7 blocks are to stay, and there are 7 that could go"),
        ({"layers": [0], "only": ["stages.1.0"]}, "1 blocks are to stay, and there are 0"),
        ({"layers": [0], "only": ["stages.9"]}, "no layer is called 'stages.9'"),
        ({"width": 0.5, "only": ["nowhere"]}, "no layer is called 'nowhere'"),
        ({"width": 0.5, "round_to": 512}, "no channels can be cut"),
        ({"model": "zoo:resnet8(classes=5)"}, r"it gives output \(5,\) float32, the teacher output \(10,\)"),
    ],
)
def test_what_cannot_be_is_refused(given: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises((ParingError, UnknownName), match=f"(?s){message}"):
        student(resnet(), tmp_path, **given)


def test_the_last_block_of_a_list_stays(tmp_path: Path) -> None:
    model = family("swin")  # two lists of two layers
    context = replace(around(model, tmp_path), task=Drawn(model))
    with pytest.raises(ParingError, match=r"has to stay: it is the last of its list or class(?s:.*)keep: \["):
        DistillStudent().apply(model, options(layers=[0]), context)


def test_networks_without_blocks_and_quantized_ones_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ParingError, match="has no block that could go"):
        student(tiny(), tmp_path, layers=1)
    with pytest.raises(ParingError, match="a quantized model cannot become a student"):
        student(quantized(), tmp_path, width=0.5)


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"layers": 2, "width": 0.5},
        {"width": 0.5, "model": STUDENT},
        {"layers": 0},
        {"layers": []},
        {"layers": [2, 1]},
        {"layers": [1, 1]},
        {"layers": [-1]},
        {"layers": 0.5},
        {"width": 1.0},
        {"width": 0},
        {"layers": 2, "importance": "l1"},
        {"layers": 2, "round_to": 4},
        {"model": STUDENT, "only": ["stem"]},
        {"model": {"model": STUDENT, "weight": "x"}},
    ],
)
def test_such_options_there_are_not(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        options(**given)


def test_options_survive_being_written_out() -> None:
    for config in (options(layers=[0, 1]), options(width=0.5), options(model={"model": STUDENT, "weights": "a.pth"})):
        assert options(**config.model_dump(mode="json")) == config


@pytest.mark.parametrize("compensate", [False, True])
def test_channels_are_copied_or_refitted(compensate: bool, tmp_path: Path) -> None:
    model = resnet(8)
    found = student(model, tmp_path, width=0.5, compensate=compensate)
    whole, left = model.module.get_parameter("stem.conv.weight"), found.module.get_parameter("stem.conv.weight")
    assert len(left) == len(whole) // 2
    assert all(any(torch.equal(one, other) for other in whole) for one in left)  # nothing was cut before it
    theirs = set(model.module.get_parameter("classifier.weight").flatten().tolist())
    mine = found.module.get_parameter("classifier.weight").flatten().tolist()
    assert (set(mine) <= theirs) is not compensate
    shares = [cost.parameters(found) / cost.parameters(model), cost.macs(found) / cost.macs(model)]
    assert all(0.2 < share < 0.3 for share in shares)
    assert "kept 50 % of the channels" in found.history[-1].changed
    keep_invariants(found)


def test_the_important_channels_stay(tmp_path: Path) -> None:
    model = resnet(8)
    stem = model.module.get_parameter("stages.0.0.body.first.conv.weight").detach()
    with torch.no_grad():
        stem[::2] *= 10
    found = student(model, tmp_path, width=0.5, importance="l2")
    left = found.module.get_parameter("stages.0.0.body.first.conv.weight").detach()
    assert len(left) == len(stem) // 2
    assert float(left.abs().mean()) > 5 * float(stem[1::2].abs().mean())


def test_another_model_takes_the_place_and_keeps_the_history(tmp_path: Path) -> None:
    before = replace(
        resnet(), history=(Event("finetune", {}, "trained"),), invariants=(Invariant("shape", "stem.conv.weight", [1]),)
    )
    found = student(before, tmp_path, model=STUDENT)
    assert [event.step for event in found.history] == ["finetune", "distill.student"]
    assert (found.edits, found.invariants) == ((), ())
    assert found.source.entry == "zoo:resnet8"
    told = found.history[-1].changed
    assert f"{found.source} in the place of {before.source}, weights drawn from the seed" in told
    assert f"parameters {cost.parameters(before):,} → {cost.parameters(found):,}" in told


def test_it_may_bring_weights(tmp_path: Path) -> None:
    teacher = load.open(STUDENT, shape=(1, 8, 8), seed=5)
    weights.write(teacher.module.state_dict(), tmp_path / "mine.safetensors")
    found = student(tiny(), tmp_path, model={"model": STUDENT, "weights": str(tmp_path / "mine.safetensors")})
    assert torch.equal(found.module.get_parameter("classifier.weight"), teacher.module.classifier.weight)
    assert f"weights of {tmp_path / 'mine.safetensors'}" in found.history[-1].changed
    saved.save(teacher, tmp_path / "saved.safetensors")
    found = student(tiny(), tmp_path, model=str(tmp_path / "saved.safetensors"))
    assert "with its own weights" in found.history[-1].changed


IMAGE, OUTPUT = tiny().inputs[0], tiny().outputs[0]


@pytest.mark.parametrize(
    ("inputs", "outputs", "message"),
    [
        ((replace(IMAGE, name="picture"),), (OUTPUT,), r"it takes picture \(1, 8, 8\) float32, the teacher image"),
        (
            (replace(IMAGE, shape=("batch", 1, 9, 9)),),
            (OUTPUT,),
            r"image \(1, 9, 9\) float32, the teacher image \(1, 8",
        ),
        (
            (replace(IMAGE, dtype="int64"),),
            (OUTPUT,),
            r"image \(1, 8, 8\) int64, the teacher image \(1, 8, 8\) float32",
        ),
        (
            (IMAGE,),
            (TensorSpec("output", ("batch", 7)),),
            r"it gives output \(7,\) float32, the teacher output \(10,\)",
        ),
        ((IMAGE,), (replace(OUTPUT, name="logits"),), r"it gives logits"),
        ((IMAGE,), (OUTPUT, replace(OUTPUT, name="more")), r"it gives output .*, more"),
    ],
)
def test_what_differs_from_the_teacher_is_named(inputs: Any, outputs: Any, message: str, tmp_path: Path) -> None:
    other = replace(tiny(1), inputs=inputs, outputs=outputs)
    with pytest.raises(ParingError, match=message):
        DistillStudent().apply(tiny(), options(model=STUDENT), around(tiny(), tmp_path, opened=lambda _: other))


def test_fewer_inputs_are_enough(tmp_path: Path) -> None:
    teacher = family("bert")
    context = around(teacher, tmp_path, opened=lambda _: family("distilbert"))
    context.task.size = lambda _: 8  # type: ignore[method-assign]
    found = DistillStudent().apply(
        teacher, options(model="hf:distilbert", recover={**SHORT, "steps": 1, "batch_size": 8}), context
    )
    assert [spec.name for spec in found.inputs] == ["input_ids", "attention_mask"]
    assert found(drawn(teacher))["output"].shape == (8, 10)


def test_files_quantized_models_and_names_without_a_recipe_are_refused(tmp_path: Path) -> None:
    for opener, message in (
        (lambda _: object(), "an exported file cannot be trained"),
        (lambda _: quantized(), "is quantized"),
        (None, r"cannot be named here(?s:.*)in a recipe"),
    ):
        with pytest.raises(ParingError, match=message):
            DistillStudent().apply(tiny(), options(model=STUDENT), around(tiny(), tmp_path, opened=opener))


def test_a_recipe_reruns_when_the_named_weights_change(tmp_path: Path) -> None:
    file = tmp_path / "student.safetensors"
    text: dict[str, Any] = {
        "version": 1,
        "model": "checkpoints/resnet8-digits.safetensors",
        "data": "digits",
        "targets": ["onnxruntime"],
        "steps": [{"distill.student": {"model": {"model": STUDENT, "weights": str(file)}}}],
        "measure": {"stages": "ends", "test_samples": 20},
    }

    def write(seed: int) -> None:
        weights.write(load.open(STUDENT, shape=(1, 8, 8), seed=seed).module.state_dict(), file)

    write(1)
    first, again = (paring.compress(text, out=tmp_path / "run").report.stages[1].cached for _ in range(2))
    assert (first, again) == (False, True)
    write(2)
    recipe, task = read(text)[0], data.open("digits")
    work = Compression(recipe, task, [(ONNXRuntime(), ExportOptions())], 1, RunDirectory(tmp_path / "run"), Silent())
    teacher = load.open(recipe.model, task=task)
    _, state = work.apply(teacher, [(DistillStudent(), options(**text["steps"][0]["distill.student"]))])
    assert not state.done.cached
    wanted = load.open(STUDENT, shape=(1, 8, 8), seed=2).module
    assert torch.equal(
        state.model().module.get_parameter("classifier.weight"), wanted.get_parameter("classifier.weight")
    )
