"""What every target must keep. Subclass a suite in the tests of a target and give the fixture `target`.

`TargetContract` is for targets that run float and quantized models, `Int8TargetContract` for those that take quantized
models alone; the latter without what runs files is `Int8ExportContract`, for targets of devices elsewhere.
"""

import errno
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from paring.core import artifact, atomic
from paring.core.errors import ParingError
from paring.core.model import Model
from paring.core.target import Array, ExportOptions, Target
from paring.measure.answers import of_model
from paring.targets import TARGETS, of_file
from paring.testing.models import quantized, tiny, unknown_operator


class ExportContract:
    """A target exports what it can run, whole or not at all.

    Attributes:
        parts: names of the files of an artifact that is a folder; none where it is one file.
    """

    parts: ClassVar[tuple[str, ...]] = ()

    @pytest.fixture
    def target(self) -> Target:
        """The target under test."""
        raise NotImplementedError

    def model(self) -> Model:
        """A model that the target takes."""
        return tiny()

    def unknown(self) -> Model:
        """A model with two layers that the target lacks, `strange` and `stranger`."""
        return unknown_operator()

    def leave_old(self, path: Path) -> None:
        """An artifact of an earlier run: a file, or a folder where the target writes folders."""
        self.put(path, b"old")

    def test_it_is_registered_under_its_name(self, target: Target) -> None:
        assert TARGETS.load(target.name) is type(target)

    def test_a_model_of_ordinary_layers_has_no_problems(self, target: Target) -> None:
        assert not target.check(tiny())

    def test_same_model_same_bytes(self, target: Target, tmp_path: Path) -> None:
        one, two = (target.export(self.model(), tmp_path / f"{name}{target.suffix}") for name in "ab")
        assert artifact.digest(one) == artifact.digest(two)
        assert isinstance(of_file(one), type(target))

    def test_what_it_refuses_it_does_not_export(self, target: Target, tmp_path: Path) -> None:
        model, path = self.unknown(), tmp_path / f"m{target.suffix}"
        problems = target.check(model)
        assert [problem.where for problem in problems] == ["strange", "stranger"]  # all at once, each with its layer
        assert all(problem.remedy for problem in problems)
        with pytest.raises(ParingError):
            target.export(model, path)
        assert not list(tmp_path.iterdir())

    def test_an_export_onto_a_full_disk_leaves_the_old_file(
        self, target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tmp_path / f"m{target.suffix}"
        self.leave_old(path)
        old = artifact.digest(path)

        def full(_: Path) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(atomic, "_sync", full)  # with delayed allocation it is there that the disk turns out full
        with pytest.raises(ParingError, match="no space left"):
            target.export(self.model(), path)
        assert artifact.digest(path) == old
        assert list(tmp_path.iterdir()) == [path]

    def put(self, path: Path, content: bytes) -> Path:
        """Puts an artifact at `path` that holds nothing of the target's."""
        if not self.parts:
            path.write_bytes(content)
            return path
        for part in self.parts:
            (path / part).parent.mkdir(parents=True, exist_ok=True)
            (path / part).write_bytes(content)
        return path


class RunContract(ExportContract):
    """A target runs its files here, one sample or several, and no others."""

    @pytest.fixture
    def images(self) -> dict[str, Array]:
        """Five images."""
        return {"image": np.random.default_rng(0).normal(size=(5, 1, 8, 8)).astype(np.float32)}

    def test_the_runner_names_inputs_and_outputs_as_the_model_does(self, target: Target, tmp_path: Path) -> None:
        model = self.model()
        runner = target.open(target.export(model, tmp_path / f"m{target.suffix}"), threads=2)
        assert (runner.inputs, runner.outputs, runner.threads) == (model.inputs, model.outputs, 2)
        assert runner.runtime

    def test_answers_do_not_depend_on_the_batch(self, target: Target, tmp_path: Path, images: dict[str, Array]) -> None:
        runner = target.open(target.export(self.model(), tmp_path / f"m{target.suffix}"))
        whole = runner.run(images)["output"]
        one = runner.run({"image": images["image"][3:4]})["output"]
        np.testing.assert_array_equal(one, whole[3:4])

    def test_an_input_of_another_shape_is_refused(
        self, target: Target, tmp_path: Path, images: dict[str, Array]
    ) -> None:
        runner = target.open(target.export(self.model(), tmp_path / f"m{target.suffix}"))
        with pytest.raises(ParingError, match="shape"):
            runner.run({"image": images["image"][:, :, :4]})
        with pytest.raises(ParingError, match="image"):
            runner.run({"picture": images["image"]})

    @pytest.mark.parametrize("content", [b"", b"not a model at all", None])
    def test_a_file_that_is_none_of_its_own_is_refused(
        self, target: Target, tmp_path: Path, content: bytes | None
    ) -> None:
        path = tmp_path / f"m{target.suffix}"
        if content is not None:
            self.put(path, content)
        with pytest.raises(ParingError) as caught:
            target.open(path)
        assert str(path) in caught.value.where

    def test_a_truncated_file_is_refused(self, target: Target, tmp_path: Path) -> None:
        path = target.export(self.model(), tmp_path / f"m{target.suffix}")
        for file in artifact.files(path):
            content = file.read_bytes()
            file.write_bytes(content[: len(content) // 2])
            with pytest.raises(ParingError):
                target.open(path)
            file.write_bytes(content)


class TargetContract(RunContract):
    """A target exports float and quantized models, and runs them as PyTorch does."""

    @pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
    def test_it_runs_as_pytorch_does(
        self, target: Target, tmp_path: Path, images: dict[str, Array], layout: str
    ) -> None:
        model, options = tiny(), ExportOptions.model_validate({"layout": layout})
        runner = target.open(target.export(model, tmp_path / f"m{target.suffix}", options))
        np.testing.assert_allclose(runner.run(images)["output"], of_model(model)(images)["output"], atol=1e-4)

    @pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
    @pytest.mark.parametrize("io", ["float32", "int8"])
    def test_a_quantized_model_runs_quantized(
        self, target: Target, tmp_path: Path, images: dict[str, Array], io: str, layout: str
    ) -> None:
        model, options = quantized(), ExportOptions.model_validate({"io": io, "layout": layout})
        runner = target.open(target.export(model, tmp_path / f"m{target.suffix}", options))
        wanted = of_model(model)(images)["output"]
        step = float(np.diff(np.unique(wanted)).min())  # of the output's scale: the runtime may round one code apart
        np.testing.assert_allclose(runner.run(images)["output"], wanted, atol=2.01 * step)

    def test_int8_ends_need_a_quantized_model(self, target: Target, tmp_path: Path) -> None:
        with pytest.raises(ParingError, match="quantized"):
            target.export(tiny(), tmp_path / f"m{target.suffix}", ExportOptions(io="int8"))


class Int8ExportContract(ExportContract):
    """A target takes models that are quantized to int8, and no others."""

    def model(self) -> Model:
        return quantized()

    def test_a_quantized_model_has_no_problems_either(self, target: Target) -> None:
        assert not target.check(quantized())

    def test_it_promises_no_floats(self, target: Target) -> None:
        assert target.limits.weights == frozenset({"int8"})
        assert target.limits.activations in ({"int8"}, {"int8", "int16"})

    def test_a_float_model_is_refused_with_the_step_to_add(self, target: Target, tmp_path: Path) -> None:
        with pytest.raises(ParingError, match=r"quantize\.static"):
            target.export(tiny(), tmp_path / f"m{target.suffix}")
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize("other", [{"io": "float32", "layout": "NHWC"}, {"io": "int8", "layout": "NCHW"}])
    def test_other_ends_are_refused(self, target: Target, tmp_path: Path, other: dict[str, str]) -> None:
        with pytest.raises(ValueError, match="Input should be"):
            target.Options.model_validate(other)
        with pytest.raises(ParingError, match="int8 codes, channels last"):
            target.export(quantized(), tmp_path / f"m{target.suffix}", ExportOptions.model_validate(other))


class Int8TargetContract(Int8ExportContract, RunContract):
    """A target takes quantized models alone, and runs them as PyTorch does."""

    def test_it_runs_as_pytorch_does(self, target: Target, tmp_path: Path, images: dict[str, Array]) -> None:
        runner = target.open(target.export(quantized(), tmp_path / f"m{target.suffix}"))
        wanted = of_model(quantized())(images)["output"]
        step = float(np.diff(np.unique(wanted)).min())  # of the output's scale: the runtime may round one code apart
        np.testing.assert_allclose(runner.run(images)["output"], wanted, atol=2.01 * step)
