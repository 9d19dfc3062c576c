"""Files whose answers are not the model's are not written, and what is told of those that are."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from paring.core.errors import ParingError
from paring.core.model import Model, Source, TensorSpec
from paring.core.target import Runner
from paring.load import probe
from paring.targets import parity
from paring.targets.litert import LiteRT
from paring.targets.litert import export as litert_export
from paring.testing.models import quantized, tiny


class Network(nn.Module):
    """A layer in the middle answers otherwise once it has been exported."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 1)

    def forward(self, image: Tensor) -> Tensor:
        """float32, shape (batch, 1, 8, 8) -> (batch, 4, 6, 6)."""
        found: Tensor = self.last(self.first(image).relu()).sigmoid()
        return found


def _network(module: nn.Module | None = None) -> Model:
    torch.manual_seed(0)
    return probe.model(module or Network(), Source("network"), (TensorSpec.of("image", (1, 8, 8)),))


@pytest.fixture
def faulty(monkeypatch: pytest.MonkeyPatch) -> None:
    """A converter that takes every ReLU for the identity."""
    convert = litert_export._convert

    def wrong(model: Model, module: nn.Module, *rest: object) -> bytes:
        class Not(torch.fx.Transformer):
            def call_function(self, target, args, kwargs):  # type: ignore[no-untyped-def]
                return args[0] if "relu" in str(target) else super().call_function(target, args, kwargs)

        graph = torch.export.export(module, (torch.zeros(1, 1, 8, 8),)).module()
        return convert(model, Not(graph).transform(), *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(litert_export, "_convert", wrong)


@pytest.mark.usefixtures("faulty")
def test_a_wrong_file_is_not_written_and_its_first_wrong_operator_is_named(tmp_path: Path) -> None:
    with pytest.raises(ParingError, match="converter is at fault") as caught:
        LiteRT().export(_network(), tmp_path / "m.tflite")
    assert "relu" in caught.value.where
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("faulty")
def test_inside_a_search_files_are_not_compared(tmp_path: Path) -> None:
    with parity.watched(off=True) as watch:
        LiteRT().export(_network(), tmp_path / "m.tflite")
    assert not watch.proofs


def test_a_proof_tells_how_near_the_file_is(tmp_path: Path) -> None:
    given = {"image": np.random.default_rng(0).normal(size=(9, 1, 8, 8)).astype(np.float32)}
    with parity.watched(given) as watch:
        LiteRT().export(tiny(), tmp_path / "float.tflite")
        LiteRT().export(quantized(), tmp_path / "int8.tflite")
    floats, integers = watch.proofs
    assert (floats.how, floats.generated, floats.sqnr) == ("run", False, None)
    assert floats.relative_error is not None
    assert floats.relative_error < 1e-5
    assert integers.relative_error is None
    assert integers.sqnr is not None
    assert integers.sqnr > 30
    assert "litert" in str(floats)
    assert integers.samples > 4  # and extremes


def test_samples_that_do_not_fit_are_not_taken(tmp_path: Path) -> None:
    with parity.watched({"image": np.zeros((2, 3, 9, 9), np.float32)}) as watch:
        LiteRT().export(tiny(), tmp_path / "m.tflite")
    assert watch.proofs[0].generated


class Logarithm(Network):
    """A network whose answers to most inputs are not numbers."""

    def forward(self, image: Tensor) -> Tensor:
        """float32, shape (batch, 1, 8, 8) -> (batch, 4, 6, 6)."""
        return super().forward(image) + (image.amin((1, 2, 3), keepdim=True) - 1e6).log()


def test_answers_that_are_no_numbers_are_told(tmp_path: Path) -> None:
    with parity.watched() as watch:
        LiteRT().export(_network(Logarithm()), tmp_path / "m.tflite")
    (proof,) = watch.proofs
    assert proof.how == "none"
    assert "not numbers" in str(proof)


class Sharp(nn.Module):
    """Divides by what is nearly nothing, so that the last bit of an input decides."""

    def forward(self, image: Tensor) -> Tensor:
        """float32, shape (batch, 1, 8, 8) -> (batch, 1, 8, 8)."""
        centred = image - image.mean((2, 3), keepdim=True)
        return centred / (centred.abs().mean((2, 3), keepdim=True) + 1e-20)


def test_answers_that_hang_on_the_last_bit_are_no_fault(tmp_path: Path) -> None:
    with parity.watched({"image": np.full((2, 1, 8, 8), 0.1, np.float32)}) as watch:
        LiteRT().export(_network(Sharp()), tmp_path / "m.tflite")
    assert "last bit" in str(watch.proofs[0])


class Crashing(LiteRT):
    """A runtime that ends its process."""

    def open(self, artifact: Path, threads: int = 1) -> Runner:
        """Never returns."""
        import os
        import signal

        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError


def test_a_runtime_that_crashes_is_an_error_and_the_next_file_is_run(tmp_path: Path) -> None:
    (tmp_path / "m").write_bytes(b"")
    with pytest.raises(parity.isolated.Crashed, match="signal 9"):
        parity.isolated.run(Crashing(), "open", tmp_path / "m", {"image": np.zeros((1, 1, 8, 8), np.float32)})
    with parity.watched() as watch:
        LiteRT().export(tiny(), tmp_path / "m.tflite")
    assert watch.proofs[0].how == "run"


def test_a_file_larger_than_memory_allows_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parity, "_ROOM", 1e12)
    with parity.watched() as watch:
        LiteRT().export(tiny(), tmp_path / "m.tflite")
    assert watch.proofs[0].how == "none"
    assert "memory" in str(watch.proofs[0])


def test_extremes_are_the_ends_of_what_the_integers_stand_for() -> None:
    from paring.targets.parity import samples

    drawn = samples.of(quantized(), None)
    low, high = (float(one) for one in (drawn.extremes["image"].min(), drawn.extremes["image"].max()))
    assert low < 0 < high
    assert (drawn.extremes["image"][0] == 0).all()
    assert drawn.usual["image"].min() >= low
    assert drawn.usual["image"].max() <= high


def test_the_plain_graph_of_a_quantized_one_rounds_nothing() -> None:
    from paring.targets.parity import reference, samples

    inputs = samples.of(tiny(), None).usual
    exact = reference.unrounded(quantized(), inputs)["output"]
    np.testing.assert_allclose(exact, reference.answers(tiny(), inputs)["output"], atol=1e-4)


def test_a_file_is_found_from_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process that runs files may have begun elsewhere."""
    with parity.watched() as watch:
        LiteRT().export(tiny(), tmp_path / "first.tflite")
        monkeypatch.chdir(tmp_path)
        LiteRT().export(tiny(), Path("second.tflite"))
    assert [one.how for one in watch.proofs] == ["run", "run"]
