"""Front doors: whatever made a model, it leaves here as a `Model`."""

from pathlib import Path

from paring.core.entry import parse
from paring.core.errors import ParingError, UnknownName
from paring.core.model import Model, TensorSpec
from paring.core.registry import Registry
from paring.core.task import Task, Tokenization

DOORS = Registry(
    "front door",
    {
        "zoo": "paring.load.zoo.door:open",
        "torch": "paring.load.torch:open",
        "pt2": "paring.load.pt2:open",
        "torchvision": "paring.load.packages:open",
        "timm": "paring.load.packages:open",
        "hf": "paring.load.huggingface.door:open",
        "keras": "paring.load.keras.door:open",
        "onnx": "paring.load.onnx.door:open",
    },
    extras={"hf": "huggingface", "keras": "keras", "onnx": "onnx"},
)
_TAKE_SEVERAL = {"torch", "pt2", "torchvision", "timm", "keras", "onnx"}  # doors that take a description of each input


def open(
    text: str,
    *,
    weights: Path | None = None,
    task: Task | None = None,
    shape: tuple[int, ...] | tuple[TensorSpec, ...] | None = None,
    seed: int = 0,
) -> Model:
    """The model that a recipe names.

    Args:
        text: `zoo:mobilenet_v2(width=0.5)`, `torch:package.module:factory`, or a model saved by paring.
        weights: a safetensors file or a checkpoint of plain weights; without it the weights are drawn from `seed`.
        task: what the model is for; it gives the inputs, and what a zoo network is built for.
        shape: of one sample without the batch, where there is no task, e.g. `(3, 224, 224)`; or a description of
            each of several inputs.
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
        if entry.scheme not in _TAKE_SEVERAL:
            shape = _single(shape, text)
        model = DOORS.load(entry.scheme)(entry, task=task, shape=shape, seed=seed)
        if weights is not None:
            tensors.put(tensors.read(weights), model.module, weights)
    tensors.finite(model)
    return model if task is None else probe.fitted(model, task)


def tokenization(text: str) -> Tokenization | None:
    """How the model that a recipe names wants its texts; None where it takes none, or does not say."""
    if is_saved(text):
        from paring.load import saved

        source, inputs = saved.ends(Path(text))
        if parse(source.entry).scheme != "hf":
            return None
        from paring.load.huggingface import door

        return door.saved_tokenization(source, inputs)
    entry = parse(text)
    if entry.scheme != "hf":
        return None
    DOORS.load("hf")  # tells which extra is missing
    from paring.load.huggingface import door

    return door.tokenization(entry)


def made_by(text: str) -> str:
    """The front door that the model of a recipe came through, e.g. `zoo`, also where it was saved since."""
    if is_saved(text):
        from paring.load import saved

        return parse(saved.ends(Path(text))[0].entry).scheme
    return parse(text).scheme


def _single(shape: tuple[int, ...] | tuple[TensorSpec, ...] | None, text: str) -> tuple[int, ...] | None:
    """The shape of the one input that is described."""
    named = [spec for spec in shape or () if isinstance(spec, TensorSpec)]
    if len(named) > 1:
        raise ParingError("takes no description of several inputs", text, "leave --shape out, or give one shape")
    sizes = named[0].shape[1:] if named else shape
    return None if sizes is None else tuple(size for size in sizes if isinstance(size, int))


def is_saved(text: str) -> bool:
    """Whether a recipe names a model saved by paring, rather than a front door."""
    try:
        return Path(text).suffix in {".safetensors", ".json"} or Path(text).is_dir()
    except OSError:  # an entry with many options is too long for the name of a file
        return False
