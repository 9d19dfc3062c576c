"""paring pares a trained network down until it fits the device, and proves that it does.

The public names are loaded when they are asked for, so that importing costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from paring.api import Result, bench, check, compress, diagnose, evaluate, inspect, sensitivity, train_model
    from paring.core.errors import ParingError
    from paring.core.model import Model
    from paring.core.record import Record
    from paring.recipes.recipe import Recipe

__version__ = "0.1.0"
__all__ = [
    "Model",
    "ParingError",
    "Recipe",
    "Record",
    "Result",
    "bench",
    "check",
    "compress",
    "diagnose",
    "evaluate",
    "inspect",
    "sensitivity",
    "train_model",
]
_HOMES = {
    "Model": "paring.core.model",
    "ParingError": "paring.core.errors",
    "Recipe": "paring.recipes.recipe",
    "Record": "paring.core.record",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'paring' has no attribute {name!r}")
    return getattr(import_module(_HOMES.get(name, "paring.api")), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
