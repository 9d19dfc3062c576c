"""The archive that `torch.export.save` writes: a zip of JSON and of raw numbers."""

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from paring.core.errors import ParingError

# numbers of the schema's ScalarType
DTYPES = {
    1: "uint8", 2: "int8", 3: "int16", 4: "int32", 5: "int64", 6: "float16", 7: "float32", 8: "float64",
    12: "bool", 13: "bfloat16",
}  # fmt: skip
_SCHEMA = 8  # major version of the program's JSON that this reader knows
_REMEDY = "save it again: torch.export.save(torch.export.export(model.eval(), …), path), with torch 2.9 or later"


def read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The program as JSON, and its parameters, buffers and constants by name; tied ones are the same object.

    Raises:
        ParingError: there is no such file, it is no such archive or damaged, of another version, or holds pickles.
    """
    if not path.is_file():
        raise ParingError("there is no such file", str(path), "check the path")
    try:
        with zipfile.ZipFile(path) as archive:
            return _read(archive, path)
    except (zipfile.BadZipFile, KeyError, ValueError, TypeError, RuntimeError, OSError, EOFError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ParingError(f"is damaged or no exported program ({reason})", str(path), _REMEDY) from error


def _read(archive: zipfile.ZipFile, path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
        # its entries would unpack to more than the file is
        raise ParingError("is a compressed archive, which torch never writes", str(path), _REMEDY)
    names = archive.namelist()
    models = [name for name in names if name.rpartition("/")[0].endswith("models") and name.endswith(".json")]
    if len(models) != 1:
        compiled = any("data/aotinductor/" in name for name in names)
        what = "compiled code" if compiled and not models else f"{len(models)} programs"
        raise ParingError(f"holds {what}, not one exported program", str(path), _REMEDY)
    root, _, name = models[0].removesuffix(".json").rpartition("models/")
    program = json.loads(archive.read(models[0]))
    version = program["schema_version"]["major"]
    if version != _SCHEMA:
        raise ParingError(f"is of version {version} of the format, not {_SCHEMA}", str(path), _REMEDY)
    tensors: dict[str, Tensor] = {}
    read: dict[str, Tensor] = {}  # tied parameters are entries of one file, read alike
    for folder in ("weights", "constants"):
        config = f"{root}data/{folder}/{name}_{folder}_config.json"
        if config not in names:
            raise ParingError("keeps its tensors as a pickle, in an old form", str(path), _REMEDY)
        for key, entry in json.loads(archive.read(config))["config"].items():
            if entry["use_pickle"] or not entry["tensor_meta"]:
                raise ParingError(
                    f"keeps {key} as a pickle, which can run code", str(path), "export a model of plain dense tensors"
                )
            path_name, meta = f"{root}data/{folder}/{entry['path_name']}", entry["tensor_meta"]
            place = path_name + json.dumps(meta, sort_keys=True)
            tensors[key] = read[place] if place in read else _tensor(archive.read(path_name), meta)
            read[place] = tensors[key]
    return program, tensors


def _tensor(content: bytes, meta: Mapping[str, Any]) -> Tensor:
    """A tensor of its own, contiguous; raises where the sizes reach past the content."""
    dtype = getattr(torch, DTYPES[meta["dtype"]])
    sizes, strides = ([size["as_int"] for size in meta[key]] for key in ("sizes", "strides"))
    flat = torch.frombuffer(bytearray(content), dtype=dtype) if content else torch.zeros(0, dtype=dtype)
    return flat.as_strided(sizes, strides, meta["storage_offset"]["as_int"]).clone(
        memory_format=torch.contiguous_format
    )
