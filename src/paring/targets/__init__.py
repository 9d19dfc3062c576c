"""Runtimes that models are exported to, one folder each."""

from pathlib import Path

from paring.core.errors import ParingError, UnknownName
from paring.core.registry import Registry
from paring.core.target import Target

TARGETS = Registry(
    "target",
    {
        "executorch": "paring.targets.executorch:ExecuTorch",
        "litert": "paring.targets.litert:LiteRT",
        "onnxruntime": "paring.targets.onnxruntime:ONNXRuntime",
    },
    extras={"executorch": "executorch", "litert": "litert", "onnxruntime": "onnxruntime"},
)


def suffixes() -> dict[str, str]:
    """How the files of each target end, `.tflite`, and its name."""
    return {TARGETS.load(name).suffix: name for name in TARGETS.names()}


def of_file(artifact: Path) -> Target:
    """The target whose files end as this one does.

    Raises:
        ParingError: there is no such file, or no target has such files.
    """
    if not artifact.is_file():
        raise ParingError(
            "there is no such file",
            str(artifact),
            "name an exported file, e.g. runs/NAME/artifacts/litert/model.tflite",
        )
    known = suffixes()
    if artifact.suffix not in known:
        raise UnknownName.of("artifact", artifact.suffix, list(known), where=str(artifact))
    found: Target = TARGETS.load(known[artifact.suffix])()
    return found
