"""Work without the garbage collector."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """Collects no garbage inside: for imports of frameworks and tracing, where nearly all that is made lives on.

    Looking for the rest again and again takes a quarter of a check's time (`benchmarks/results/check.csv`).
    """
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
