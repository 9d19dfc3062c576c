"""TensorFlow Lite Micro's interpreter, from its wheel."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from torch import nn

from paring.core.errors import ParingError
from paring.core.model import Source, TensorSpec
from paring.core.record import Origin
from paring.core.step import Context
from paring.core.target import Target, why_not_run, why_not_timed
from paring.load import probe
from paring.steps.quantize.static import QuantizeStatic, StaticConfig
from paring.targets.int8.operators import Operator
from paring.targets.micro import Micro, arena, array
from paring.targets.micro.resolver import known
from paring.testing.models import quantized
from paring.testing.repairs import Images, network
from paring.testing.targets import Int8TargetContract


class TestMicro(Int8TargetContract):
    @pytest.fixture
    def target(self) -> Target:
        return Micro()


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Micro().export(quantized(), tmp_path_factory.mktemp("micro") / "m.micro.tflite")


@pytest.fixture(scope="module")
def needed(file: Path) -> int:
    return arena.size(file)


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Micro().export(quantized("int16"), tmp_path_factory.mktemp("wide") / "m.micro.tflite")


@pytest.mark.parametrize(("kind", "apart"), [("int8", 0), ("int16", 1)])  # which round sums of 64 bits differently
def test_it_answers_as_the_reference_kernels_of_litert(file: Path, wide: Path, kind: str, apart: int) -> None:
    path = file if kind == "int8" else wide
    runner = Micro().open(path)
    reference = Interpreter(str(path), experimental_op_resolver_type=OpResolverType.BUILTIN_REF)
    reference.allocate_tensors()
    (given,), (asked,) = reference.get_input_details(), reference.get_output_details()
    assert given["dtype"] == asked["dtype"] == np.dtype(kind)
    limits = np.iinfo(kind)
    codes = np.random.default_rng(1).integers(limits.min, limits.max + 1, (20, *given["shape"]), dtype=kind)
    for one in codes:
        runner._put({"image": one})
        runner.invoke()
        reference.set_tensor(given["index"], one)
        reference.invoke()
        codes_apart = runner._taken()["output"].astype(int) - reference.get_tensor(asked["index"])
        assert np.abs(codes_apart).max() <= apart


def test_the_arena_is_the_smallest_that_fits(file: Path, needed: int) -> None:
    assert needed % arena.STEP == 0
    runs = "import sys, pathlib; from tflite_micro.python.tflite_micro import runtime; runtime.Interpreter.from_bytes("
    runs += "pathlib.Path(sys.argv[1]).read_bytes(), arena_size=int(sys.argv[2])).invoke()"
    ended = [
        subprocess.run([sys.executable, "-c", runs, str(file), str(size)], capture_output=True, check=False).returncode
        for size in (needed, needed - arena.STEP)
    ]
    assert ended[0] == 0
    assert ended[1] != 0


def test_dense_layers_take_no_memory_for_scales(tmp_path: Path) -> None:
    """Two hundred channels, for each of which the interpreter would hold some ten bytes."""
    module = network(nn.Linear(16, 100), nn.ReLU(), nn.Linear(100, 100))
    model = probe.model(module.eval(), Source("test"), (TensorSpec("image", ("batch", 16)),))
    images = torch.randn(64, 16, generator=torch.Generator().manual_seed(1))
    context = Context(Images(images), Micro.limits, 0, model, tmp_path)
    sizes = {}
    for granularity in ("auto", "channel"):
        config = StaticConfig.model_validate({"granularity": granularity, "calibration": {"samples": 64}})
        made = QuantizeStatic().apply(model, config, context)
        sizes[granularity] = arena.size(Micro().export(made, tmp_path / f"{granularity}.micro.tflite"))
    assert sizes["channel"] - sizes["auto"] > 200 * 8


def test_it_is_reported_with_the_flash(file: Path, needed: int) -> None:
    found = {one.metric: one for one in Micro().estimate(file, "artifact:micro")}
    assert {name: one.value for name, one in found.items()} == {"arena": needed, "flash": file.stat().st_size}
    assert all(one.origin is Origin.ESTIMATED and one.unit == "bytes" for one in found.values())


def test_what_no_arena_fits_is_told(tmp_path: Path) -> None:
    (tmp_path / "m.micro.tflite").write_bytes(b"none of it")
    with pytest.raises(ParingError, match="cannot run it"):
        arena.size(tmp_path / "m.micro.tflite")


def test_the_array_holds_the_file(file: Path, needed: int) -> None:
    header, source = Micro().accompany(file)
    assert (header.name, source.name) == ("m.h", "m.cc")
    held = bytes(int(byte, 16) for byte in re.findall(r"0x([0-9a-f]{2}),", source.read_text()))
    assert held == file.read_bytes()
    assert f"m_arena_size = {needed};" in header.read_text()
    assert "alignas(16) const unsigned char m_data[]" in source.read_text()


def test_a_name_that_is_none_in_c_becomes_one(tmp_path: Path) -> None:
    path = tmp_path / "2 nets-a.micro.tflite"
    path.write_bytes(b"\x01\xff")
    header, _ = array.write(path, 16, "2 nets-a")
    assert "extern const unsigned char _2_nets_a_data[];" in header.read_text()


def test_constants_are_aligned_in_the_file(file: Path) -> None:
    from ai_edge_litert import schema_py_generated as schema

    model = schema.Model.GetRootAs(file.read_bytes(), 0)
    places = [
        buffer._tab.Vector(buffer._tab.Offset(4))
        for buffer in map(model.Buffers, range(model.BuffersLength()))
        if buffer.DataLength()
    ]
    assert places
    assert not any(place % 16 for place in places)


def test_the_list_of_operators_is_that_of_the_wheel() -> None:
    command = [sys.executable, "-m", "paring.targets.micro.resolver"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == known()
    assert {"CONV_2D", "HARD_SWISH"} <= known()
    assert not {"GELU", "TILE"} & known()


def test_what_it_lacks_refuses_and_what_computes_in_float_does_not() -> None:
    given = [
        Operator("CONV_2D", "stem"),
        Operator("GELU", "act", "float32", source="aten.gelu.default"),
        Operator("DEQUANTIZE", "gate", "float32"),
        Operator("LOGISTIC", "gate", "float32", source="aten.mish.default"),
    ]
    lacking, slow = Micro().judge(given)
    assert (lacking.where, lacking.severity) == ("act", "refuses")
    assert "GELU" in lacking.problem
    assert (slow.where, slow.severity) == ("gate", "slow")
    assert "Hardswish" in slow.remedy


def test_it_runs_here_but_is_not_timed() -> None:
    assert why_not_run(Micro()) is None
    assert "microcontroller" in str(why_not_timed(Micro()))
