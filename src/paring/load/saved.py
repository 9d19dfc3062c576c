"""Models on disk: tensors in safetensors, all else in JSON beside them, and no pickle.

A saved model is its source (the factory and its arguments), the structural edits since, and the tensors. Loading builds
the source, replays the edits and puts the tensors in: outputs are the same, bit for bit, in the same environment.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from paring.core import atomic
from paring.core.entry import parse
from paring.core.errors import ParingError
from paring.core.model import Edit, Event, Invariant, Json, Model, Skipped, Source, TensorSpec
from paring.core.registry import Registry
from paring.load import weights

FORMAT = "paring.model/1"
_PROBED = 16  # numbers of an answer that are kept
EDITS = Registry(
    "edit",
    {
        "call": "paring.load.call:replay",
        "factorize": "paring.steps.factorize.low_rank.edit:replay",
        "fold_batch_norm": "paring.steps.quantize.layers:replay",
        "quantize": "paring.steps.quantize.fixed:replay",
        "reshape": "paring.steps.shapes:replay",
        "unpack_attention": "paring.steps.prune.structure.unpack:replay",
    },
    extras={"fold_batch_norm": "quantize", "quantize": "quantize"},
)
BUILDERS = Registry(
    "front door",
    {
        "zoo": "paring.load.zoo.door:rebuild",
        "torch": "paring.load.torch:rebuild",
        "torchvision": "paring.load.packages:rebuild",
        "timm": "paring.load.packages:rebuild",
        "pt2": "paring.load.blueprint:build",
        "keras": "paring.load.blueprint:build",
        "onnx": "paring.load.blueprint:build",
        "hf": "paring.load.huggingface.door:rebuild",
    },
    extras={"hf": "huggingface"},
)


def save(model: Model, path: Path, notes: Mapping[str, Json] | None = None) -> Path:
    """Writes `path` (`.safetensors`) and the `.json` beside it; returns the former.

    Args:
        model: any stage of the way.
        path: of the tensors.
        notes: JSON values for people, e.g. the command that made it and its accuracy.
    """
    weights.write(model.module.state_dict(), path)
    data = {
        "format": FORMAT,
        "source": asdict(model.source),
        "inputs": [spec.as_json() for spec in model.inputs],
        "outputs": [spec.as_json() for spec in model.outputs],
        "edits": [asdict(edit) for edit in model.edits],
        "invariants": [asdict(invariant) for invariant in model.invariants],
        "history": [asdict(event) for event in model.history],
        "notes": dict(notes or {}),
        "answers": _answers(model),
        "sha256": _digest(path),
    }
    with atomic.write(path.with_suffix(".json")) as temporary:
        temporary.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def load(path: Path) -> Model:
    """The model saved at `path`: its `.safetensors`, its `.json`, or the folder that holds `model.safetensors`.

    Raises:
        ParingError: a file is missing, damaged, altered since it was written, or of another version.
    """
    tensors, data = _files(path)
    try:
        model = Model(
            nn.Identity(),
            Source(**data["source"]),
            tuple(TensorSpec.from_json(spec) for spec in data["inputs"]),
            tuple(TensorSpec.from_json(spec) for spec in data["outputs"]),
            tuple(Edit(edit["name"], edit["data"]) for edit in data["edits"]),
            tuple(Invariant(**invariant) for invariant in data["invariants"]),
            tuple(_event(event) for event in data["history"]),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise _damaged(tensors.with_suffix(".json"), f"lacks {error}") from error
    entry = parse(model.source.entry)
    module = BUILDERS.load(entry.scheme)(model.source).eval()
    for edit in model.edits:
        module = EDITS.load(edit.name)(replace(model, module=module), edit.data)
    weights.put(weights.read(tensors), module, tensors)
    model = replace(model, module=module)
    _same(data.get("answers"), _answers(model), model, path)
    return model


def digest(model: Model) -> str:
    """A hex digest of all that makes a model answer as it does: source, edits, tensors, and some of its answers."""
    found = hashlib.sha256(
        str((model.source, model.source.blueprint, model.inputs, model.edits, _answers(model))).encode()
    )
    for name, tensor in sorted(model.module.state_dict().items()):
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        found.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


def last_event(path: Path) -> Event:
    """The last step of a saved model's history, without building the model."""
    return _event(_files(path)[1]["history"][-1])


def notes(path: Path) -> dict[str, Json]:
    """What `save` was given for people."""
    return dict(_files(path)[1].get("notes", {}))


def ends(path: Path) -> tuple[Source, tuple[TensorSpec, ...]]:
    """A saved model's source and inputs, without building it."""
    data = _files(path)[1]
    try:
        return Source(**data["source"]), tuple(TensorSpec.from_json(spec) for spec in data["inputs"])
    except (KeyError, TypeError, AttributeError) as error:
        raise _damaged(path, f"lacks {error}") from error


def _files(path: Path) -> tuple[Path, dict[str, Any]]:
    tensors = path / "model.safetensors" if path.is_dir() else path.with_suffix(".safetensors")
    described = tensors.with_suffix(".json")
    for file in (tensors, described):
        if not file.is_file():
            raise ParingError(
                f"there is no {file.name}",
                str(path),
                "a saved model is a .safetensors with a .json beside it; plain weights go with "
                "model: zoo:… or torch:… and weights: FILE",
            )
    try:
        data = json.loads(described.read_text(encoding="utf-8"))
    except ValueError as error:
        raise _damaged(described, str(error)) from error
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise ParingError(f"is not of the format {FORMAT}", str(described), "save the model again with this version")
    if data.get("sha256") != _digest(tensors):
        raise _damaged(tensors, "its SHA-256 is not the one noted when it was written")
    return tensors, data


def _answers(model: Model) -> list[float]:
    """The first numbers that the model gives for a fixed input: they tell when the code of its factory has changed."""
    fed = {}
    for spec in model.inputs:
        shape, dtype = spec.sized(1), getattr(torch, spec.dtype)
        ramp = torch.linspace(-1, 1, torch.Size(shape).numel()).reshape(shape)
        if not dtype.is_floating_point:  # over the range, where it is known: a mask of zeros would hide every token
            low, high = spec.range or (0, 0)
            ramp = (torch.arange(ramp.numel()) % int(high - low + 1) + int(low)).reshape(shape)
        fed[spec.name] = ramp.to(dtype)
    first = model(fed)[model.outputs[0].name]
    return [float(value) for value in first.flatten()[:_PROBED]]


def _same(wanted: Sequence[float] | None, found: Sequence[float], model: Model, path: Path) -> None:
    largest = max(map(abs, wanted or [0.0]))
    # another machine or another library rounds otherwise, another network answers otherwise
    if wanted is None or any(abs(w - f) > 0.02 * largest + 1e-6 for w, f in zip(wanted, found, strict=True)):
        raise ParingError(
            f"answers otherwise than when it was saved: the code behind {model.source.entry} has changed",
            str(path),
            "go back to the code that it was saved with, or train it again",
        )


def _event(data: Mapping[str, Any]) -> Event:
    return Event(data["step"], data["config"], data["changed"], tuple(Skipped(**one) for one in data["skipped"]))


def _damaged(path: Path, reason: str) -> ParingError:
    return ParingError(f"is damaged: {reason}", str(path), "copy it again, or run again what wrote it")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
