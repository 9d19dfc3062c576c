"""What is in a `.ptl`, and that it is what the model promised."""

import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from paring.core.codes import Codes
from paring.core.errors import ParingError
from paring.core.model import Invariant, Model, Source, TensorSpec
from paring.core.quiet import quiet
from paring.core.step import Context
from paring.core.target import remarks
from paring.load import probe
from paring.measure.answers import of_model
from paring.steps import STEPS
from paring.steps.quantize.static import Calibration, QuantizeStatic, StaticConfig
from paring.targets.torchmobile import TorchMobile, TorchMobileOptions
from paring.targets.torchmobile.export import optimizable
from paring.testing.models import TinyTask, quantized, tiny

TARGET = TorchMobile()
IMAGES = {"image": np.random.default_rng(0).normal(size=(5, 1, 8, 8)).astype(np.float32)}


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return TARGET.export(quantized(), tmp_path_factory.mktemp("torchmobile") / "m.ptl")


def code(path: Path) -> str:
    with zipfile.ZipFile(path) as archive:
        return archive.read("archive/code/__torch__.py").decode()


def test_a_quantized_network_computes_on_codes(artifact: Path) -> None:
    held = TARGET.describe(artifact)
    assert held.quantized == {"quantized::conv2d": 3, "quantized::add": 1, "quantized::linear": 1}
    assert [kind for kind, _ in held.in_float] == ["aten::mean"]  # its kernel gives the scale of its input alone
    promised = {tuple(one.value) for one in quantized().invariants if one.kind == "scale"}
    assert {tuple(map(float, np.float32(one.scales))) for one in held.tensors if one.dtype == "int8"} == {
        tuple(map(float, np.float32(one))) for one in promised
    }
    assert {one.shape for one in held.tensors if one.dtype == "int8"} == {(8, 1, 3, 3), (8, 8, 1, 1), (10, 8)}


def test_limits_that_the_codes_imply_are_left_out(artifact: Path) -> None:
    assert "relu" not in code(artifact)
    assert "clamp" not in code(artifact)


def test_int8_ends_are_uint8_tensors(tmp_path: Path) -> None:
    path = TARGET.export(quantized(), tmp_path / "m.ptl", TorchMobileOptions(io="int8", layout="NHWC"))
    runner = TARGET.open(path)
    ends = runner.ends  # type: ignore[attr-defined]
    assert {name: (end.dtype, end.shape) for name, end in ends.items()} == {
        "image": ("uint8", (1, 8, 8, 1)),
        "output": ("uint8", (1, 10)),
    }
    assert code(path).count("torch.quantize_per_tensor(") == 1  # behind the mean
    assert code(path).count("torch.dequantize(") == 1  # in front of it


def test_a_file_holds_nothing_of_the_machine(artifact: Path) -> None:
    with zipfile.ZipFile(artifact) as archive:
        content = b"".join(archive.read(name) for name in archive.namelist())
    assert not any(name.endswith("debug_pkl") for name in archive.namelist())
    assert b"site-packages" not in content
    assert b"mangle" not in content


def test_the_engine_is_what_it_was_before(artifact: Path) -> None:
    kept = torch.backends.quantized.engine
    other = next(one for one in torch.backends.quantized.supported_engines if one not in ("none", "qnnpack"))
    try:
        torch.backends.quantized.engine = other
        threads = torch.get_num_threads()
        TARGET.open(artifact, threads=threads + 1).run(IMAGES)
        assert (torch.backends.quantized.engine, torch.get_num_threads()) == (other, threads)
    finally:
        torch.backends.quantized.engine = kept


class Branching(nn.Module):
    """Computes otherwise where the mean is negative."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """float32, shape (batch, 3)."""
        if float(x.mean()) < 0:
            return self.layer(-x)
        return self.layer(x) * 2


def branching() -> Model:
    torch.manual_seed(0)
    specs = (TensorSpec("x", ("batch", 3)),), (TensorSpec("output", ("batch", 3)),)
    return Model(Branching().eval(), Source("test"), *specs)


@pytest.mark.parametrize("mode", ["script", "trace"])
def test_a_network_is_scripted_where_it_is_asked_for(mode: str, tmp_path: Path) -> None:
    options = TorchMobileOptions.model_validate({"mode": mode})
    runner = TARGET.open(TARGET.export(tiny(), tmp_path / "m.ptl", options))
    np.testing.assert_allclose(runner.run(IMAGES)["output"], of_model(tiny())(IMAGES)["output"], atol=1e-5)


def test_a_script_keeps_branches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("paring.targets.torchmobile.export.problems", lambda _: [])  # torch.export cannot trace it
    path = TARGET.export(branching(), tmp_path / "m.ptl", TorchMobileOptions(mode="script"))
    runner = TARGET.open(path)
    for sign in (-1, 1):
        x = sign * np.ones((1, 3), np.float32)
        wanted = branching().module(torch.from_numpy(x)).detach().numpy()
        np.testing.assert_allclose(runner.run({"x": x})["output"], wanted, atol=1e-6)
    assert TARGET.describe(path).operators["aten::linear"] == 2


class Unscriptable(nn.Module):
    """Takes any number of inputs, which TorchScript has no way to write."""

    def forward(self, *x: torch.Tensor) -> torch.Tensor:
        """The first one, doubled."""
        return x[0] * 2


def test_what_cannot_be_scripted_is_told_with_the_way_out(tmp_path: Path) -> None:
    model = probe.model(Unscriptable().eval(), Source("test"), (TensorSpec("x", ("batch", 3)),))
    with pytest.raises(ParingError) as caught:
        TARGET.export(model, tmp_path / "m.ptl", TorchMobileOptions(mode="script"))
    assert "trace" in caught.value.remedy
    with pytest.raises(ParingError, match="no code to script"):
        TARGET.export(quantized(), tmp_path / "m.ptl", TorchMobileOptions(mode="script"))
    assert not list(tmp_path.iterdir())


def test_optimizing_needs_a_build_that_can(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "m.ptl"
    if not optimizable():
        with pytest.raises(ParingError, match="XNNPACK"):
            TARGET.export(tiny(), path, TorchMobileOptions(optimize=True))
        assert not path.exists()
    given = []
    monkeypatch.setattr("paring.targets.torchmobile.export.optimizable", lambda: True)
    monkeypatch.setattr("torch.utils.mobile_optimizer.optimize_for_mobile", lambda made: given.append(made) or made)
    TARGET.export(tiny(), path, TorchMobileOptions(optimize=True))
    assert len(given) == 1
    np.testing.assert_allclose(TARGET.open(path).run(IMAGES)["output"], of_model(tiny())(IMAGES)["output"], atol=1e-5)


class Two(nn.Module):
    """Two linear layers, the second left in float."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(64, 32), nn.Linear(32, 4, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """float32, shape (batch, 64) -> (batch, 4)."""
        found: torch.Tensor = self.second(self.first(x).relu())
        return found


def test_a_dynamic_model_keeps_its_codes(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = probe.model(Two().eval(), Source("test"), (TensorSpec("x", ("batch", 64), range=(-3, 3)),))
    step = STEPS.load("quantize.dynamic")()
    context = Context(TinyTask(), TARGET.limits, 0, model, tmp_path)
    result = step.apply(model, step.Config(keep_float=["second"]), context)
    path = TARGET.export(result, tmp_path / "m.ptl")
    held = TARGET.describe(path)
    assert held.quantized == {"quantized::linear_dynamic": 1}
    assert held.in_float == (("aten::relu", "relu"), ("aten::linear", "linear"))
    (codes,) = (Codes.from_json(one.value) for one in result.invariants if one.kind == "codes")
    (stored,) = (one.scales for one in held.tensors if one.dtype == "int8")
    assert tuple(map(float, np.float32(stored))) == tuple(map(float, np.float32(codes.scales)))
    x = {"x": np.random.default_rng(0).uniform(-3, 3, (20, 64)).astype(np.float32)}
    wanted, found = of_model(result)(x)["output"], TARGET.open(path).run(x)["output"]
    assert 0 < np.abs(found - wanted).max() < 0.02 * np.abs(wanted).max()  # inputs have 256 values


def test_weights_that_are_only_stored_in_few_bits_have_no_form() -> None:
    held = Codes("int8", "float32", (0.1,) * 10).as_json()
    (found,) = TARGET.check(replace(tiny(), invariants=(Invariant("codes", "classifier", held),)))
    assert (found.where, "quantize.dynamic" in found.remedy) == ("classifier", True)
    (found,) = TARGET.check(quantized("int16"))
    assert "int16" in found.problem


def test_a_model_that_came_out_float_is_not_written(tmp_path: Path) -> None:
    promised = replace(tiny(), invariants=(Invariant("scale", "classifier", [0.1] * 10),))
    with pytest.raises(ParingError, match="came out without their scales"):
        TARGET.export(promised, tmp_path / "m.ptl")
    assert not list(tmp_path.iterdir())


def test_a_layer_kept_in_float_computes_in_float(tmp_path: Path) -> None:
    config = StaticConfig(calibration=Calibration(samples=64), keep_float=("body.3",))
    model = QuantizeStatic().apply(tiny(), config, Context(TinyTask(), TARGET.limits, 0, tiny(), tmp_path))
    path = TARGET.export(model, tmp_path / "m.ptl")
    assert "aten::_convolution" in [kind for kind, _ in TARGET.describe(path).in_float]
    wanted, found = of_model(model)(IMAGES)["output"], TARGET.open(path).run(IMAGES)["output"]
    np.testing.assert_allclose(found, wanted, atol=2.01 * float(np.diff(np.unique(wanted)).min()))


def test_a_network_that_was_trained_quantized_computes_on_codes(tmp_path: Path) -> None:
    step = STEPS.load("quantize.qat")()
    config = step.Config.model_validate({"steps": 1, "batch_size": 32, "calibration": {"samples": 32}})
    model = step.apply(tiny(), config, Context(TinyTask(), TARGET.limits, 0, tiny(), tmp_path))
    path = TARGET.export(model, tmp_path / "m.ptl")
    assert TARGET.describe(path).quantized == {"quantized::conv2d": 3, "quantized::add": 1, "quantized::linear": 1}
    wanted, found = of_model(model)(IMAGES)["output"], TARGET.open(path).run(IMAGES)["output"]
    np.testing.assert_allclose(found, wanted, atol=2.01 * float(np.diff(np.unique(wanted)).min()))


def test_values_have_the_names_of_their_layers(tmp_path: Path) -> None:
    held = TARGET.describe(TARGET.export(tiny(), tmp_path / "m.ptl"))
    assert ("aten::_convolution", "body_3_convolution") in held.in_float
    assert not held.quantized


def test_users_are_told_of_the_successor() -> None:
    (found,) = remarks(TARGET)
    assert (found.severity, "ExecuTorch" in found.problem) == ("note", True)


def test_a_type_that_the_apps_tensors_lack_is_named() -> None:
    specs = (TensorSpec("x", ("batch", 4), "complex64"),), (TensorSpec("output", ("batch", 4), "complex64"),)
    found = TARGET.check(Model(nn.Identity().eval(), Source("test"), *specs))
    assert [one.where for one in found] == ["x", "output"]


def test_another_makers_file_is_described_but_not_run(tmp_path: Path) -> None:
    path = tmp_path / "m.ptl"
    with quiet():
        torch.jit.trace(nn.Linear(2, 3).eval(), torch.zeros(1, 2))._save_for_lite_interpreter(str(path))
    assert TARGET.describe(path).operators == {"aten::linear": 1}
    with pytest.raises(ParingError, match="does not tell its inputs"):
        TARGET.open(path)
    path.write_bytes(b"nothing")
    with pytest.raises(ParingError, match="cannot be read"):
        TARGET.describe(path)
