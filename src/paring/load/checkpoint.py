"""Weights from a PyTorch checkpoint (`.pt`, `.pth`, `.bin`, `.ckpt`): tensors, and never code.

Such a file is a pickle. It is read by torch's restricted unpickler (`weights_only=True`), which builds tensors and
plain values only and calls nothing else; a file that asks for more is refused.
"""

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from paring.core.errors import ParingError
from paring.core.quiet import quiet

SUFFIXES = {".pt", ".pth", ".bin", ".ckpt"}
# where training scripts put the weights, among what else they save
_NESTED = ("state_dict", "model_state_dict", "model", "net", "network", "module")
# what they save beside them that may hold tensors and is no weight of the network
_LEFTOVERS = ("optimizer", "scheduler", "lr_scheduler", "scaler", "rng", "random", "args", "config", "hyper_parameters")


def read(path: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint by name.

    Takes a state dict, or a dictionary that holds one under one of the usual names. Numbers and texts beside the
    tensors, and the state of an optimizer, are left out.

    Raises:
        ParingError: the file is damaged, needs code to be read, is a TorchScript program, or holds no tensors or
            several sets of them.
    """
    where = str(path)
    _plain_archive(path)
    try:
        with quiet():
            found = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except pickle.UnpicklingError as error:
        if "Unsupported global" in str(error) or "Unsupported class" in str(error) or "GLOBAL" in str(error):
            name = str(error).partition("GLOBAL ")[2].partition(" ")[0] or "an object"
            raise _needs_code(name, where) from error
        raise _damaged(error, where) from error
    except Exception as error:  # a damaged file fails in any way
        raise _damaged(error, where) from error
    return _tensors(found, where)


def _plain_archive(path: Path) -> None:
    """Refuses an archive that is no checkpoint, or could unpack to more than it is."""
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
    names = {entry.filename.rpartition("/")[2] for entry in entries}
    if "constants.pkl" in names:
        raise ParingError(
            "is a TorchScript program, not weights",
            str(path),
            "save its weights: safetensors.torch.save_file(torch.jit.load(path).state_dict(), 'weights.safetensors')",
        )
    if any(entry.filename.endswith("models/model.json") for entry in entries):
        raise ParingError("is an exported program, not weights", str(path), f"model: pt2:{path}, without weights")
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise ParingError("is a compressed archive, which torch never writes", str(path), "save it by torch.save")


def _tensors(found: Any, where: str) -> dict[str, Tensor]:
    if isinstance(found, Tensor) or not isinstance(found, Mapping):
        raise ParingError(f"holds one {type(found).__name__}, not named tensors", where, "save model.state_dict()")
    if not any(isinstance(value, Tensor) for value in found.values()):
        named = [key for key in _NESTED if isinstance(found.get(key), Mapping) and _holds_tensors(found[key])]
        others = [
            str(key)
            for key, value in found.items()
            if key not in named and _holds_tensors(value) and not str(key).lower().startswith(_LEFTOVERS)
        ]
        if len(named) != 1 or others:
            sets, first = ", ".join([*named, *others]), [*named, *others, "NAME"][0]
            raise ParingError(
                f"holds several sets of tensors: {sets}" if sets else "holds no tensors",
                where,
                f"save the one that you mean: {_CONVERT.format(part=f'[{first!r}]')}",
            )
        return _tensors(found[named[0]], f"{where}: {named[0]}")
    nested = [str(key) for key, value in found.items() if not isinstance(value, Tensor) and _holds_tensors(value)]
    if nested:
        raise ParingError(
            f"holds tensors within {', '.join(nested[:3])}, beside its own", where, "save model.state_dict() alone"
        )
    return {str(key): value.detach() for key, value in found.items() if isinstance(value, Tensor)}


def _holds_tensors(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(_holds_tensors(one) for one in value.values())
    if isinstance(value, list | tuple):
        return any(_holds_tensors(one) for one in value)
    return isinstance(value, Tensor)


_CONVERT = "safetensors.torch.save_file(torch.load(path, weights_only=True){part}, 'weights.safetensors')"


def _needs_code(name: str, where: str) -> ParingError:
    return ParingError(
        f"needs code to be read ({name}), which a checkpoint of weights does not",
        where,
        "where you trust it, save its weights alone: "
        "torch.save(torch.load(path, weights_only=False).state_dict(), 'weights.pth') for a whole model, "
        "torch.load(path, weights_only=False)['state_dict'] for a dictionary",
    )


def _damaged(error: Exception, where: str) -> ParingError:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    return ParingError(f"is damaged or no PyTorch checkpoint ({reason})", where, "copy it again, or make it again")
