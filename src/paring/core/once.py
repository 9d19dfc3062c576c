"""What several ask of one model while it is looked at, found once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

from paring.core.model import Model

Found = TypeVar("Found")
_known: ContextVar[dict[tuple[str, int], tuple[Model, Any]] | None] = ContextVar("known", default=None)


@contextmanager
def once() -> Iterator[None]:
    """Inside, `known` finds each thing once; no model may be changed meanwhile."""
    token = _known.set({})
    try:
        yield
    finally:
        _known.reset(token)


def known(what: str, model: Model, find: Callable[[], Found]) -> Found:
    """What `find` gives; outside of `once` found anew at each call.

    Args:
        what: names it.
        model: that it is of.
        find: takes long; its answer must not be changed.
    """
    held = _known.get()
    if held is None:
        return find()
    if (what, id(model)) not in held:
        held[what, id(model)] = model, find()  # the model is held too, so that its id is not given again
    found: Found = held[what, id(model)][1]
    return found
