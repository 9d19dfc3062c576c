"""Keeps what libraries print, from Python and from C++, off the terminal."""

import ctypes
import io
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress

_KEPT = 4000  # characters of what was printed, enough for a converter's last words


@contextmanager
def quiet() -> Iterator[Callable[[], str]]:
    """Silences standard output and error, warnings and logging meanwhile.

    C++ writes past `sys.stdout`, so the descriptors are turned away; the streams of Python need not be these (in a
    notebook they are not), so they are turned away too. Yields a function that gives the end of what was printed, for
    an error message.
    """
    level = logging.root.manager.disable
    with tempfile.TemporaryFile() as log, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _flush()
        kept = [(fd, os.dup(fd)) for fd in (1, 2)]
        logging.disable(logging.ERROR)
        text = io.TextIOWrapper(log, encoding="utf-8", errors="replace", write_through=True)

        def said() -> str:
            log.seek(0)
            return log.read().decode(errors="replace")[-_KEPT:]

        try:
            for fd, _ in kept:
                os.dup2(log.fileno(), fd)
            with redirect_stdout(text), redirect_stderr(text):
                yield said
        finally:
            _handed_back(text)
            text.detach()
            _flush()
            for fd, copy in kept:
                os.dup2(copy, fd)
                os.close(copy)
            logging.disable(level)


def _handed_back(text: io.TextIOWrapper) -> None:
    """Gives the terminal to handlers of loggers that a library made meanwhile: later they would write to nothing."""
    for handler in [known() for known in logging._handlerList]:  # type: ignore[attr-defined]
        if isinstance(handler, logging.StreamHandler) and handler.stream is text:
            vars(handler).pop("flush", None)  # transformers puts the stream's own in its place
            handler.setStream(sys.stderr)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    with suppress(OSError, TypeError, AttributeError):  # C has a buffer of its own, which would come out later
        ctypes.CDLL(None).fflush(None)
