"""Front doors: whatever made a model, it leaves here as a `Model`."""

from pathlib import Path

from paring.core.entry import parse
from paring.core.errors import ParingError, UnknownName
from paring.core.model import Model
from paring.core.registry import Registry
from paring.core.task import Task

DOORS = Registry(
    "front door",
    {
        "zoo": "paring.load.zoo.door:open",
        "torch": "paring.load.torch:open",
        "onnx": "paring.load.onnx.door:open",
    },
    extras={"onnx": "onnx"},
)


def open(
    text: str,
    *,
    weights: Path | None = None,
    task: Task | None = None,
    shape: tuple[int, ...] | None = None,
    seed: int = 0,
) -> Model:
    """The model that a recipe names.

    Args:
        text: `zoo:mobilenet_v2(width=0.5)`, `torch:package.module:factory`, or a model saved by paring.
        weights: a safetensors file; without it the weights are drawn from `seed`.
        task: what the model is for; it gives the inputs, and what a zoo network is built for.
        shape: of one sample without the batch, where there is no task, e.g. `(3, 224, 224)`.
        seed: of weights that are drawn.

    Raises:
        ParingError: an unknown door or name, a missing or damaged file, weights that do not fit or are not finite, a
            model that does not take the task's inputs.
    """
    from paring.load import probe, saved
    from paring.load import weights as tensors

    if is_saved(text):
        if weights is not None:
            raise ParingError("brings its own weights", text, "leave `weights` out")
        model = saved.load(Path(text))
    else:
        entry = parse(text)
        if entry.scheme not in DOORS:
            known = [f"{name}:" for name in DOORS.names()]
            raise UnknownName.of("front door", f"{entry.scheme or entry.rest}:", known, where=f"model {text!r}")
        model = DOORS.load(entry.scheme)(entry, task=task, shape=shape, seed=seed)
        if weights is not None:
            tensors.put(tensors.read(weights), model.module, weights)
    tensors.finite(model)
    if task is not None:
        probe.fits(model, task)
    return model


def is_saved(text: str) -> bool:
    """Whether a recipe names a model saved by paring, rather than a front door."""
    return Path(text).suffix in {".safetensors", ".json"} or Path(text).is_dir()
