"""Tensors on disk: written as safetensors, read from these or from a checkpoint of plain weights."""

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from paring.core import atomic
from paring.core.errors import ParingError
from paring.core.model import Model
from paring.load import checkpoint

_ALIASES = "aliases"  # tensors that share memory (tied weights) are stored once
_COUNT = "num_batches_tracked"
# what wrappers put before every name: data-parallel training, torch.compile, Lightning and other outer modules
_PREFIXES = ("module.", "_orig_mod.", "model.", "net.")


def write(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Writes tensors to a safetensors file; those that share memory once."""
    stored: dict[str, Tensor] = {}
    first: dict[tuple[int, tuple[int, ...], tuple[int, ...]], str] = {}
    aliases: dict[str, str] = {}
    for name, tensor in tensors.items():
        place = (tensor.data_ptr(), tuple(tensor.shape), tensor.stride())
        if tensor.numel() and place in first:
            aliases[name] = first[place]
        else:
            first[place] = name
            stored[name] = tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
    # as bytes, and written here: on a full disk safetensors' own writer does not tell what is wrong
    content = save(stored, metadata={_ALIASES: json.dumps(aliases)})
    with atomic.write(path) as temporary:
        temporary.write_bytes(content)


def read(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, or of a PyTorch checkpoint (see `paring.load.checkpoint`).

    Raises:
        ParingError: there is no such file, it is damaged, or it is of another kind.
    """
    if not path.is_file():
        raise ParingError("there is no such file", str(path), "check the path; `paring train` writes such a file")
    if path.suffix in checkpoint.SUFFIXES:
        return checkpoint.read(path)
    if path.suffix == ".pkl":
        raise ParingError(
            "is a pickle, which can run code when it is read",
            str(path),
            "convert it where you trust it: safetensors.torch.save_file(state_dict, 'weights.safetensors')",
        )
    try:
        with safe_open(path, framework="pt") as file:
            tensors: dict[str, Tensor] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            aliases = json.loads((file.metadata() or {}).get(_ALIASES, "{}"))
    except (SafetensorError, ValueError, OSError) as error:
        raise ParingError(
            f"is damaged or not a safetensors file ({error})", str(path), "copy it again, or make it again"
        ) from error
    return {**tensors, **{name: tensors[other] for name, other in aliases.items()}}


def put(tensors: Mapping[str, Tensor], module: nn.Module, where: Path) -> None:
    """Copies tensors into a module of the same names and shapes.

    A prefix that wrappers put before every name is left away where the names fit without it. Batch norm's count of
    batches, which old files and other frameworks lack, may be missing: nothing but training reads it.

    Raises:
        ParingError: names or shapes differ; the first of them are named.
    """
    own = module.state_dict()
    tensors = _unwrapped(tensors, own)
    tensors = {**{name: own[name] for name in own if name.endswith(_COUNT) and name not in tensors}, **tensors}
    other = [
        f"{name} is {tuple(tensors[name].shape)}, wanted {tuple(own[name].shape)}"
        for name in own
        if name in tensors and own[name].shape != tensors[name].shape
    ]
    problems = [
        f"{len(names)} tensors {what} ({', '.join(names[:3])}{', …' if len(names) > 3 else ''})"
        for what, names in (
            ("are missing", sorted(own.keys() - tensors.keys())),
            ("are not in the model", sorted(tensors.keys() - own.keys())),
            ("have other shapes", other),
        )
        if names
    ]
    if problems:
        raise ParingError(
            "; ".join(problems), str(where), "name the model and the arguments that these weights were made with"
        )
    for tensor in (*module.parameters(), *module.buffers()):
        if torch._debug_has_internal_overlap(tensor):  # expanded, say: nothing can be copied into it
            tensor.data = tensor.data.clone(memory_format=torch.contiguous_format)
    own.update(tensors)  # as its own state it has the versions, which some classes ask for
    module.load_state_dict(own)


def _unwrapped(tensors: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """The tensors without the prefixes before every name, if the names fit then."""
    found = tensors
    while prefix := next((p for p in _PREFIXES if found and all(name.startswith(p) for name in found)), None):
        if any(name in own for name in found):
            break
        found = {name.removeprefix(prefix): tensor for name, tensor in found.items()}
    return found if any(name in own for name in found) else tensors


def finite(model: Model) -> None:
    """Raises ParingError if a weight is NaN or infinite, with the tensor's name."""
    for name, tensor in model.module.state_dict().items():
        # a sum is not finite where a value is not, and is much faster than a look at each
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor.sum(dtype=torch.float64))):
            count = int((~torch.isfinite(tensor)).sum())
            raise ParingError(
                f"{count} of {tensor.numel()} values are NaN or infinite",
                f"{model.source}: {name}",
                "train again, or take an earlier checkpoint",
            )
