"""The state of a training on disk: tensors and JSON in one safetensors file, never pickle."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from paring.core import atomic
from paring.core.model import Json

_TENSOR = "tensor "  # a key no plain dictionary here has: {"tensor ": name, "stride": [...]}


class CorruptStateError(Exception):
    """A state file that does not hold what was written."""


def save_state(path: Path, fingerprint: str, tree: Json) -> None:
    """Writes nested dictionaries and lists of JSON values and tensors. The file appears whole or not at all.

    Raises:
        ParingError: the file system refuses.
    """
    tensors: dict[str, Tensor] = {}
    text = json.dumps({"fingerprint": fingerprint, "tree": _split(tree, "", tensors)})
    data = save(tensors, {"state": text, "sha256": _digest(text, tensors)})
    with atomic.write(path) as temporary:
        temporary.write_bytes(data)  # not safetensors' own writer, whose errors hide the operating system's


def load_state(path: Path, fingerprint: str) -> Json | None:
    """What `save_state` wrote; None if there is no file or it belongs to another training.

    Raises:
        CorruptStateError: the file is not as it was written.
    """
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dictionary
        text = metadata["state"]
        if metadata["sha256"] != _digest(text, tensors):
            raise CorruptStateError("its content does not match its SHA-256")
        state = json.loads(text)
    except (SafetensorError, KeyError, ValueError) as error:
        raise CorruptStateError(str(error)) from error
    return _join(state["tree"], tensors) if state["fingerprint"] == fingerprint else None


def weights_digest(module: nn.Module) -> str:
    """SHA-256 of a module's names, shapes, types and values."""
    return _digest("", {name: tensor for name, tensor in module.state_dict().items() if isinstance(tensor, Tensor)})


def _split(tree: Any, name: str, tensors: dict[str, Tensor]) -> Json:
    """Moves the tensors of `tree` to `tensors` and leaves references to them."""
    if isinstance(tree, Tensor):
        # A copy, as a file holds no two names for one storage. The strides come along because the order in memory
        # decides which kernel runs, and with it the last bit.
        tensors[name] = tree.detach().to("cpu", copy=True).contiguous()
        return {_TENSOR: name, "stride": list(tree.stride())}
    if isinstance(tree, Mapping):
        return {str(key): _split(value, f"{name}/{key}", tensors) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [_split(value, f"{name}/{index}", tensors) for index, value in enumerate(tree)]
    return tree


def _join(tree: Json, tensors: Mapping[str, Tensor]) -> Json:
    """The inverse of `_split`; keys are strings and sequences lists."""
    if isinstance(tree, dict):
        if _TENSOR in tree:
            held = tensors[tree[_TENSOR]]
            return torch.empty_strided(held.shape, tree["stride"], dtype=held.dtype).copy_(held)
        return {key: _join(value, tensors) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_join(value, tensors) for value in tree]
    return tree


def _digest(text: str, tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
