"""The Edge TPU: the way of a file, and the compiler where it is to be had (here one that says what it is told to)."""

from pathlib import Path

import pytest

from paring.core.errors import ParingError
from paring.core.target import Target, why_not_run, why_not_timed
from paring.targets.edgetpu import EdgeTPU
from paring.targets.int8.operators import Operator
from paring.testing.models import quantized
from paring.testing.targets import Int8TargetContract

# of google-coral/edgetpu, issue 427, cut short after the first rows
LOG = """Edge TPU Compiler version 15.0.340273435

Model compiled successfully in 1379 ms.

Input model: model.tflite
Input size: 4.41MiB
Output model: model_edgetpu.tflite
Output size: 5.49MiB
On-chip memory used for caching model parameters: 1.92MiB
On-chip memory remaining for caching model parameters: 1.75KiB
Off-chip memory used for streaming uncached model parameters: 3.23MiB
Number of Edge TPU subgraphs: 1
Total number of operations: 136
Operation log: model_edgetpu.log
Number of operations that will run on Edge TPU: 135
Number of operations that will run on CPU: 1

Operator                       Count      Status

RESHAPE                        15         Mapped to Edge TPU
CONCATENATION                  3          Mapped to Edge TPU
MAX_POOL_2D                    3          Mapped to Edge TPU
ADD                            10         Mapped to Edge TPU
CUSTOM                         1          Operation is working on an unsupported data type
"""


class TestEdgeTPU(Int8TargetContract):
    @pytest.fixture
    def target(self) -> Target:
        return EdgeTPU()


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return EdgeTPU().export(quantized(), tmp_path_factory.mktemp("edgetpu") / "m.edgetpu.tflite")


@pytest.fixture
def compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An `edgetpu_compiler` on the PATH that writes a file where it is told to, and prints the log."""
    program = tmp_path / "bin" / "edgetpu_compiler"
    program.parent.mkdir()
    program.write_text(
        f"#!/bin/sh\n[ $1 = --show_operations ] && echo made > $3/model_edgetpu.tflite\ncat <<E\n{LOG}\nE\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    return program


def test_without_a_compiler_the_rules_tell(file: Path) -> None:
    assert EdgeTPU().accompany(file) == ()
    found = {one.metric: one for one in EdgeTPU().estimate(file, "artifact:edgetpu")}
    assert (found["accelerated"].value, found["on_processor"].value, found["off_chip"].value) == (7, 0, 0)
    assert 300 < found["on_chip"].value < 800  # 304 weights, the biases, a padding
    assert "rules" in found["accelerated"].source
    assert EdgeTPU().describe(file).on_processor == ()


def test_with_a_compiler_its_log_tells(file: Path, compiler: Path) -> None:
    copy = compiler.parents[1] / "m.edgetpu.tflite"
    copy.write_bytes(file.read_bytes())
    made, log = EdgeTPU().accompany(copy)
    assert (made.name, made.read_text(), log.name) == ("m_edgetpu.tflite", "made\n", "m_edgetpu.log")
    found = {one.metric: (one.value, one.source) for one in EdgeTPU().estimate(copy, "artifact:edgetpu")}
    source = "edgetpu_compiler 15.0.340273435"
    assert found["accelerated"] == (31, source)
    assert found["on_processor"] == (1, source)
    assert found["on_chip"] == (int(1.92 * 2**20), source)
    assert found["off_chip"] == (int(3.23 * 2**20), source)


def test_what_the_compiler_refuses_is_told(file: Path, compiler: Path) -> None:
    compiler.write_text("#!/bin/sh\necho Model could not be parsed\nexit 1\n")
    with pytest.raises(ParingError, match="Model could not be parsed"):
        EdgeTPU().accompany(file)


def test_a_layer_that_cuts_the_graph_is_named_with_what_follows() -> None:
    given = [Operator("CONV_2D", "stem"), Operator("HARD_SWISH", "act"), *[Operator("CONV_2D", "body")] * 3]
    cut, own = EdgeTPU().judge(given)
    assert (cut.where, cut.severity) == ("act", "slow")
    assert "3 operators after it" in cut.problem
    assert "the Edge TPU has no HARD_SWISH" in own.problem


def test_it_runs_here_but_is_not_timed() -> None:
    assert why_not_run(EdgeTPU()) is None
    assert "Edge TPU" in str(why_not_timed(EdgeTPU()))
