"""Silence reaches what C++ prints, and ends."""

import logging
import os
import subprocess
import sys
import warnings

import pytest

from paring.core.quiet import quiet


def test_nothing_is_shown_and_all_is_told(capfd: pytest.CaptureFixture[str]) -> None:
    with quiet() as said:
        print("from Python", flush=True)
        os.write(2, b"from C++")
        logging.getLogger("other").warning("from a logger")
        warnings.warn("from a warning", stacklevel=1)
        told = said()
    assert "from Python" in told
    assert "from C++" in told
    print("after", file=sys.stderr)
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "after\n")


def test_an_error_passes(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="mine"), quiet():
        raise ValueError("mine")
    print("after")
    assert capfd.readouterr().out == "after\n"


def test_what_c_keeps_in_its_own_buffer_does_not_come_out_later() -> None:
    code = (
        "import ctypes\nfrom paring.core.quiet import quiet\nprintf = ctypes.CDLL(None).printf\n"
        "printf(b'before\\n')\nwith quiet() as said:\n    printf(b'noise\\n')\nprint('after', flush=True)\n"
    )
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    done = subprocess.run([sys.executable, "-c", code], env=buffered, capture_output=True, text=True, check=True)
    assert done.stdout == "before\nafter\n"


def test_a_logger_made_meanwhile_tells_the_terminal_later(capfd: pytest.CaptureFixture[str]) -> None:
    with quiet():
        handler = logging.StreamHandler()
        handler.flush = sys.stderr.flush
    try:
        handler.emit(logging.makeLogRecord({"msg": "after"}))
    finally:
        handler.close()
    assert capfd.readouterr().err == "after\n"
