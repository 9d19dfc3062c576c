"""Finished work is done once; a lock keeps two processes apart; what fails leaves the old result."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paring.core.errors import Busy, ParingError
from paring.core.rundir import RunDirectory, key

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(st.dictionaries(st.text(), json_values))
def test_a_key_does_not_depend_on_the_order_of_a_dictionary(data: dict[str, object]) -> None:
    assert key(data) == key(dict(reversed(data.items())))


@given(json_values)
def test_a_part_more_is_another_key(data: object) -> None:
    assert len({key(data), key(data, data), key([data]), key([data, data])}) == 4


def test_work_is_done_once_for_a_key(tmp_path: Path) -> None:
    run, made = RunDirectory(tmp_path / "run"), []

    def make(folder: Path) -> None:
        made.append(folder)
        (folder / "result").write_text(str(len(made)))

    with run.locked():
        first, second, third = (run.once("steps/a", k, make) for k in ("k1", "k1", "k2"))
    assert [done.cached for done in (first, second, third)] == [False, True, False]
    assert first.seconds == second.seconds
    assert (third.path / "result").read_text() == "2"


def test_work_that_fails_leaves_the_old_result(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")

    def fail(folder: Path) -> None:
        (folder / "half").write_text("x")
        raise RuntimeError("no")

    with run.locked():
        run.once("a", "old", lambda folder: (folder / "result").write_text("old") and None)
        with pytest.raises(RuntimeError):
            run.once("a", "new", fail)
        assert (run.path / "a" / "result").read_text() == "old"
        assert run.once("a", "old", fail).cached
    assert sorted(path.name for path in run.path.iterdir()) == [".lock", "a", "log.jsonl"]


def test_a_damaged_key_is_no_key(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    with run.locked():
        run.once("a", "k", lambda folder: None)
        (tmp_path / "a" / "key.json").write_text('{"key": "k"')
        assert not run.once("a", "k", lambda folder: None).cached


HOLD = """
import sys, time
from pathlib import Path
from paring.core.rundir import RunDirectory
with RunDirectory(Path(sys.argv[1])).locked():
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_process_is_told_who_works_there(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(Busy, match=f"process {other.pid} works in it"), RunDirectory(tmp_path).locked():
            pass
        other.kill()
        other.wait()
    with RunDirectory(tmp_path).locked():  # a killed process holds nothing
        pass


def test_a_workspace_outlives_a_failure_and_not_a_success(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)

    def killed() -> None:
        with run.workspace("train", "k" * 64) as work:
            (work / "state").write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        killed()
    with run.workspace("train", "k" * 64) as work:
        assert (work / "state").read_text() == "half"
    assert not work.exists()


def test_a_place_that_cannot_be_used_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(ParingError, match="cannot be used as a run directory"),
        RunDirectory(tmp_path / "file").locked(),
    ):
        pass
