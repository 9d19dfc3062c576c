"""Whose work is in a bundle, and on what terms. What nobody here can tell is said to be unknown, not guessed."""

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

import yaml

from paring.bundle.manifest import Licence
from paring.core.entry import parse
from paring.recipes.recipe import Recipe

_UNKNOWN = "unknown"
_DATA = {
    "digits": ("CC-BY-4.0", "UCI Machine Learning Repository, data set 80, which scikit-learn ships"),
    "fashion-mnist": ("MIT", "its authors, Zalando Research"),
    "reviews": ("MIT", "the archive of vaderSentiment 0.5, whose authors rated the sentences"),
}
_RUNTIMES = {
    "litert": "ai-edge-litert", "executorch": "executorch", "onnxruntime": "onnxruntime", "openvino": "openvino",
}  # fmt: skip


def licences(recipe: Recipe, targets: Sequence[str]) -> tuple[Licence, ...]:
    """Of the model, the data, the runtimes and the integration code."""
    own = ("Apache-2.0", "paring")
    found = [("model", *_model(recipe)), ("data", *_data(recipe.data)), ("integration code", *own)]
    found += [(f"runtime {target}", *_runtime(target)) for target in targets]
    return tuple(Licence(of=of, licence=licence, source=source) for of, licence, source in found)


def _model(recipe: Recipe) -> tuple[str, str]:
    """A folder of Hugging Face's tells its licence in its README; nothing else does."""
    entry = parse(recipe.model)
    if entry.scheme == "hf":
        card = Path(entry.rest).expanduser() / "README.md"
        try:
            _, front, _ = card.read_text(encoding="utf-8").split("---\n", 2)
            told = yaml.safe_load(front).get("license")
        except (OSError, ValueError, AttributeError, yaml.YAMLError):
            told = None
        if isinstance(told, str):
            return told, str(card)
    return _UNKNOWN, "whoever trained the weights can tell"


def _data(name: str) -> tuple[str, str]:
    entry = parse(name)
    return _DATA.get(entry.scheme or entry.rest, (_UNKNOWN, "whoever collected the data can tell"))


def _runtime(target: str) -> tuple[str, str]:
    """As its package on this machine says."""
    package = _RUNTIMES.get(target)
    try:
        told = metadata(package) if package else None
    except PackageNotFoundError:
        told = None
    if told is None:
        return ("part of the system", "Apple") if target == "coreml" else (_UNKNOWN, "its maker can tell")
    said = [told[name] for name in ("License-Expression", "License") if name in told]
    classes = [line.rpartition(" :: ")[2] for line in told.get_all("Classifier") or () if line.startswith("License")]
    licence = next(iter([*said, *classes]), _UNKNOWN)
    return licence.splitlines()[0], f"the package {package} {told['Version']}"
