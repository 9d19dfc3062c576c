"""Ctrl-C at a moment that leaves nothing half done."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def deferred_interrupt() -> Iterator[Callable[[], bool]]:
    """Holds Ctrl-C back until a step is done, as half an update cannot be saved; a second one strikes at once.

    Yields whether Ctrl-C was pressed. Leaves a handler that is not Python's own alone.
    """
    pressed = False

    def handle(signum: int, frame: Any) -> None:  # noqa: ARG001 - as `signal` calls it
        nonlocal pressed
        if pressed:
            raise KeyboardInterrupt
        pressed = True

    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield lambda: False
        return
    signal.signal(signal.SIGINT, handle)
    try:
        yield lambda: pressed
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
