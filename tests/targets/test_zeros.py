"""What a step pruned is 0 after every later step and in every file; what it cut is small in every file."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from paring.core.errors import ParingError
from paring.core.model import Invariant, Json, Model
from paring.core.step import Context
from paring.core.target import Describes, FileTensor, Limits
from paring.load import saved
from paring.steps import STEPS, keep_invariants
from paring.targets import TARGETS, zeros
from paring.targets.litert import LiteRT
from paring.testing.models import TinyTask, tiny

SIZES = {"stem.0": 72, "body.0": 72, "body.3": 64, "classifier": 80}
TRAIN = {"steps": 3, "batch_size": 16}
CALIBRATION = {"calibration": {"samples": 32}}
LATER: dict[str, tuple[str, dict[str, Json]]] = {
    "finetune": ("finetune", TRAIN),
    "static": ("quantize.static", CALIBRATION),
    "rounded": (
        "quantize.static",
        {**CALIBRATION, "weights": "int4", "repairs": ["equalize", {"adaround": {"iterations": 30}}]},
    ),
    "blocks": ("quantize.static", {**CALIBRATION, "weights": "int4", "repairs": [{"brecq": {"iterations": 30}}]}),
    "lsq": ("quantize.qat", {**CALIBRATION, **TRAIN}),
    "plain": ("quantize.qat", {**CALIBRATION, **TRAIN, "method": "plain", "granularity": "tensor"}),
    "dynamic": ("quantize.dynamic", {}),
    "weights": ("quantize.weights", {"weights": "int4"}),
    "float16": ("quantize.float16", {}),
}

EXPORTED = {  # the others store as these do
    "finetune": {"float32"}, "rounded": {"int4"}, "lsq": {"int8"}, "dynamic": {"int8", "float32"},
    "float16": {"float16"},
}  # fmt: skip


def applied(model: Model, step: str, options: dict[str, Json], folder: Path, limits: Limits = LiteRT.limits) -> Model:
    technique = STEPS.load(step)()
    context = Context(TinyTask(), limits, 0, model, folder / step)
    found: Model = technique.apply(model, technique.Config.model_validate(options), context)
    return found


@pytest.fixture(scope="module")
def pruned(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return applied(tiny(), "prune.magnitude", {"sparsity": 0.75, "scope": "layer"}, tmp_path_factory.mktemp("pruned"))


def found_in(model: Model, target: str, folder: Path) -> list[FileTensor]:
    """The weights that a file of the model holds."""
    runtime = TARGETS.load(target)()
    assert isinstance(runtime, Describes)
    path = runtime.export(model, folder / f"model{runtime.suffix}")  # type: ignore[attr-defined]
    return [
        one for one in runtime.describe(path).tensors if one.bytes and np.prod(one.shape) in SIZES.values()
        and len(one.shape) > 1
    ]  # fmt: skip


def all_sparse(stored: list[FileTensor]) -> bool:
    return sorted(int(np.prod(one.shape)) for one in stored) == sorted(SIZES.values()) and all(
        one.zeros >= 0.75 for one in stored
    )


@pytest.mark.parametrize("later", LATER)
def test_zeros_stay_through_a_later_step_and_in_the_tflite(pruned: Model, later: str, tmp_path: Path) -> None:
    result = applied(pruned, *LATER[later], tmp_path)
    assert [one for one in result.invariants if one.kind == "sparsity"] == list(pruned.invariants)
    keep_invariants(result)
    again = saved.load(saved.save(result, tmp_path / "saved.safetensors"))
    keep_invariants(again)
    if later in EXPORTED:
        stored = found_in(again, "litert", tmp_path)
        assert all_sparse(stored), stored
        assert {one.dtype for one in stored} <= EXPORTED[later]


def test_a_lost_zero_is_noticed_after_each_later_step(pruned: Model, tmp_path: Path) -> None:
    for later in ("static", "dynamic"):
        result = applied(pruned, *LATER[later], tmp_path / later)
        with torch.no_grad():
            result.module.get_parameter("body.3.weight").fill_(0.01)
        with pytest.raises(ParingError, match=r"body\.3\.weight: had 75\.0 % of zeros"):
            keep_invariants(replace(result, invariants=pruned.invariants))


@pytest.mark.parametrize("target", ["executorch", "onnxruntime"])
def test_zeros_are_in_the_other_files_too(pruned: Model, target: str, tmp_path: Path) -> None:
    result = applied(pruned, *LATER["static"], tmp_path, TARGETS.load(target).limits)
    assert all_sparse(found_in(result, target, tmp_path))


@pytest.mark.parametrize("target", TARGETS.names())
def test_a_file_without_them_is_not_written(pruned: Model, target: str, tmp_path: Path) -> None:
    runtime = TARGETS.load(target)()
    half = applied(tiny(), "prune.magnitude", {"sparsity": 0.5, "scope": "layer"}, tmp_path)
    if "float32" not in runtime.limits.activations:
        half = applied(half, *LATER["static"], tmp_path)
    half.module.register_parameter("unused", torch.nn.Parameter(torch.zeros(11, 3)))
    scales = [one for one in half.invariants if one.kind == "scale"]
    cut = Invariant("shape", "unused", [11, 3])
    with pytest.raises(ParingError, match=r"5 tensors .*75\.0 % of zeros promised, 50\.0 % found") as caught:
        runtime.export(
            replace(half, invariants=(cut, *pruned.invariants, *scales)), tmp_path / f"model{runtime.suffix}"
        )
    assert "unused: no tensor of 33 values" in caught.value.problem
    assert not list(tmp_path.iterdir())


@given(arrays(np.int8, (3, 4), elements=st.integers(-3, 3)), st.lists(st.integers(-3, 3), min_size=3, max_size=3))
def test_zero_is_the_zero_point_of_its_channel(codes: np.ndarray, points: list[int]) -> None:
    each = zeros.share(codes, tuple(points), 0)
    assert each == pytest.approx(np.mean([np.mean(row == point) for row, point in zip(codes, points, strict=True)]))
    assert zeros.share(codes, (points[0],)) == pytest.approx(np.mean(codes == points[0]))
    assert zeros.share(codes.astype(np.float32)) == pytest.approx(np.mean(codes == 0))


def promised(*shares: float) -> Model:
    """As many layers of 64 weights that promise zeros."""
    network = torch.nn.Sequential(*(torch.nn.Linear(8, 8) for _ in shares))
    kept = tuple(Invariant("sparsity", f"{i}.weight", {"zeros": one}) for i, one in enumerate(shares))
    return replace(tiny(), module=network, invariants=kept)


def held(*shares: float, shape: tuple[int, ...] = (8, 8)) -> list[FileTensor]:
    return [FileTensor("t", "int8", shape, 64, zeros=one) for one in shares]


def test_of_tensors_of_one_size_each_has_one_of_its_own() -> None:
    zeros.require(promised(0.5, 0.75), held(0.0, 0.76, 0.5), "here")
    zeros.require(promised(0.5), held(0.5, shape=(1, 1, 8, 8)), "here")
    with pytest.raises(ParingError, match=r"0\.weight: 50\.0 % of zeros promised, 49\.0 % found"):
        zeros.require(promised(0.5, 0.75), held(0.9, 0.49), "here")
    with pytest.raises(ParingError, match=r"0\.weight: no tensor of 64 values is left"):
        zeros.require(promised(0.5, 0.75), held(0.9), "here")
    with pytest.raises(ParingError, match="no tensor of 64"):
        zeros.require(promised(0.5), held(0.9, shape=(64,)), "here")  # a bias


def test_a_weight_that_layers_share_is_in_a_file_once() -> None:
    network = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.Linear(8, 8))
    network[1].weight = network[0].weight
    kept = tuple(Invariant("shape", f"{i}.weight", [8, 8]) for i in range(2))
    model = replace(tiny(), module=network, invariants=kept)
    zeros.require(model, [FileTensor("", "float32", (8, 8), 256)], "here")
    with pytest.raises(ParingError, match="no tensor of 64 values"):
        zeros.require(model, [FileTensor("", "float32", (8, 16), 512)], "here")
