"""What a checkpoint says: configuration, tokenizer, image preprocessing, pooling. Nothing in it is executed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paring.core.entry import Entry
from paring.core.errors import ParingError
from paring.core.model import Json
from paring.core.quiet import quiet

_WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
_VOCABULARIES = ("vocab.txt", "vocab.json", "tokenizer.model", "spiece.model", "sentencepiece.bpe.model")
_OTHER_WEIGHTS = {".safetensors", ".h5", ".msgpack", ".gguf", ".pt", ".pth", ".ckpt", ".onnx"}
_SENTENCE_PARTS = ("Transformer", "Pooling", "Normalize")  # what sentence-transformers puts one behind the other
_POOLS = {"mean_tokens": "mean", "mean": "mean", "cls_token": "cls", "cls": "cls"}
_MODES = tuple(
    f"pooling_mode_{kind}"
    for kind in ("cls_token", "max_tokens", "mean_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens", "lasttoken")
)
_FETCHED = ["*.json", "*.safetensors", "*.txt", "*.model"]


@dataclass(frozen=True)
class Checkpoint:
    """The parts of a checkpoint.

    Attributes:
        name: as the recipe writes it.
        folder: where the weights lie; None for a configuration without weights.
        config: of the model, JSON values, `model_type` among them.
        tokenizer: the text of `tokenizer.json`.
        processor: how images were prepared.
        pooling: `{"mode": "mean" or "cls", "normalize": bool}` of a sentence encoder.
        given: whether the entry itself holds the configuration, and weights are drawn on purpose.
    """

    name: str
    folder: Path | None
    config: Mapping[str, Json]
    tokenizer: str | None = None
    processor: Mapping[str, Json] | None = None
    pooling: Mapping[str, Json] | None = None
    given: bool = False


def read(entry: Entry) -> Checkpoint:
    """The checkpoint that an entry names.

    Raises:
        ParingError: there is no such folder and no hub, a file is missing or damaged, the weights are a pickle, or the
            model needs code of its own.
    """
    name = f"hf:{entry.rest}"
    given = entry.arguments.get("config")
    if given is not None:
        if not isinstance(given, dict):
            raise ParingError(f"config={given!r} is no dictionary", name, "write hf:distilbert(config={'n_layers': 2})")
        return Checkpoint(name, None, _sound({"model_type": entry.rest, **given}, name), given=True)
    folder = _folder(entry.rest, name)
    config = _sound(_json(folder / "config.json"), str(folder))
    return Checkpoint(
        name,
        folder if _has_weights(folder) else None,
        config,
        _tokenizer(folder),
        _json(folder / "preprocessor_config.json") if (folder / "preprocessor_config.json").is_file() else None,
        _pooling(folder),
    )


def _folder(rest: str, name: str) -> Path:
    folder = Path(rest).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise ParingError("holds no config.json", str(folder), "name the folder that save_pretrained wrote")
        return folder
    if folder.is_absolute() or rest.startswith((".", "~")) or rest.count("/") > 1:
        raise ParingError("there is no such folder", name, "check the path")
    try:
        with quiet():
            from huggingface_hub import snapshot_download

            return Path(snapshot_download(rest, allow_patterns=_FETCHED))
    except Exception as error:  # no network, no such name, no rights: the hub's client raises many kinds
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ParingError(
            f"is no folder here, and could not be fetched from the hub ({reason})",
            name,
            "give a local folder with config.json and model.safetensors, or an architecture alone: "
            "hf:distilbert(config={})",
        ) from error


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ParingError(f"cannot be read: {error}", str(path), "copy the checkpoint again") from error
    if not isinstance(found, dict):
        raise ParingError("is no JSON object", str(path), "copy the checkpoint again")
    return found


def _sound(config: dict[str, Any], where: str) -> dict[str, Any]:
    """The configuration without what would fetch or execute something."""
    if not isinstance(config.get("model_type"), str):
        raise ParingError("its configuration names no model_type", where, "save it with transformers' save_pretrained")
    if config.get("auto_map"):
        raise ParingError(
            "needs Python code that lies beside its weights, which is never executed",
            where,
            "use an architecture of transformers itself, or write torch:package.module:factory",
        )
    if config.get("quantization_config"):
        raise ParingError("is quantized already", where, "take the checkpoint in float")
    return {key: value for key, value in config.items() if key not in {"torch_dtype", "dtype", "_name_or_path"}}


def _has_weights(folder: Path) -> bool:
    if any((folder / name).is_file() for name in _WEIGHTS):
        return True
    pickles = sorted(folder.glob("*.bin"))
    if pickles:
        raise ParingError(
            "is a pickle, which can run code when it is read",
            str(pickles[0]),
            "convert it where you trust it: AutoModel.from_pretrained(folder).save_pretrained(folder)",
        )
    others = sorted(file.name for file in folder.iterdir() if file.suffix in _OTHER_WEIGHTS)
    if others:
        raise ParingError(
            f"holds weights of another kind ({', '.join(others[:3])}) and no {_WEIGHTS[0]}",
            str(folder),
            "save it with transformers' save_pretrained; an adapter is merged into its model first",
        )
    return False


def _tokenizer(folder: Path) -> str | None:
    path = folder / "tokenizer.json"
    if path.is_file():
        _json(path)
        return path.read_text(encoding="utf-8")
    if not any((folder / name).is_file() for name in _VOCABULARIES):
        return None
    try:
        with quiet():
            from transformers import AutoTokenizer

            made = AutoTokenizer.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
            return str(made.backend_tokenizer.to_str())
    except Exception:  # an old vocabulary that needs packages of its own: the data then ask for a tokenizer
        return None


def _pooling(folder: Path) -> Mapping[str, Json] | None:
    """What sentence-transformers wrote down beside an encoder."""
    if not (folder / "modules.json").is_file():
        return None
    try:
        kinds = [part["type"].rpartition(".")[2] for part in json.loads((folder / "modules.json").read_text())]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ParingError("is damaged", str(folder / "modules.json"), "copy the checkpoint again") from error
    strange = [kind for kind in kinds if kind not in _SENTENCE_PARTS]
    found = _json(folder / "1_Pooling" / "config.json") if "Pooling" in kinds else {}
    modes = [key.removeprefix("pooling_mode_") for key, value in found.items() if key in _MODES and value]
    modes = [str(found["pooling_mode"])] if isinstance(found.get("pooling_mode"), str) else modes
    if strange or len(modes) > 1 or any(mode not in _POOLS for mode in modes):
        told = ", ".join([*strange, *(f"pooling by {mode}" for mode in modes if mode not in _POOLS or len(modes) > 1)])
        raise ParingError(
            f"makes its vectors of {told}, which the encoder here does not",
            str(folder / "modules.json"),
            "write a factory that does, and name it torch:package.module:factory",
        )
    return {"mode": _POOLS[modes[0]] if modes else "mean", "normalize": "Normalize" in kinds}
