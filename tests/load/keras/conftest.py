"""Keras on its torch backend, and models that are saved and opened."""

import itertools
import os
from collections.abc import Callable
from pathlib import Path

os.environ["KERAS_BACKEND"] = "torch"

import pytest

from paring import load
from paring.core.model import Model

Opened = Callable[..., Model]


@pytest.fixture(scope="session")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Opened:
    """Saves a Keras model and opens it by the door, which proves that both answer the same."""
    folder, count = tmp_path_factory.mktemp("keras"), itertools.count()

    def opened(model: object, suffix: str = ".keras", **options: object) -> Model:
        path = save(model, folder / f"{next(count)}{suffix}")
        found = load.open(f"keras:{path}", **options)
        path.unlink()
        return found

    return opened


def save(model: object, path: Path) -> Path:
    from paring.core.quiet import quiet

    with quiet():  # Keras warns of the old format
        model.save(path)
    return path
