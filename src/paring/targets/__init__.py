"""Runtimes that models are exported to, one folder each."""

from pathlib import Path

from paring.core.errors import ParingError, UnknownName
from paring.core.registry import Registry
from paring.core.target import Target

TARGETS = Registry(
    "target",
    {
        "coreml": "paring.targets.coreml:CoreML",
        "edgetpu": "paring.targets.edgetpu:EdgeTPU",
        "ethosu": "paring.targets.ethosu:EthosU",
        "executorch": "paring.targets.executorch:ExecuTorch",
        "litert": "paring.targets.litert:LiteRT",
        "micro": "paring.targets.micro:Micro",
        "onnxruntime": "paring.targets.onnxruntime:ONNXRuntime",
        "openvino": "paring.targets.openvino:OpenVINO",
        "torchmobile": "paring.targets.torchmobile:TorchMobile",
    },
    extras={
        "coreml": "coreml",
        "edgetpu": "litert",
        "ethosu": "ethosu",
        "executorch": "executorch",
        "litert": "litert",
        "micro": "micro",
        "onnxruntime": "onnxruntime",
        "openvino": "openvino",
    },
)


def suffixes() -> dict[str, str]:
    """How the artifacts of each target end, and its name; the longest first: `.micro.tflite` before `.tflite`."""
    found = {TARGETS.load(name).suffix: name for name in TARGETS.names()}
    return dict(sorted(found.items(), key=lambda one: -len(one[0])))


def is_artifact(name: str) -> bool:
    """Whether a name ends as the artifacts of a target do."""
    return name.endswith(tuple(suffixes()))


def of_file(artifact: Path) -> Target:
    """The target whose artifacts end as this one does.

    Raises:
        ParingError: there is no such file or folder, or no target has such artifacts.
    """
    if not artifact.exists():
        raise ParingError(
            "there is no such file",
            str(artifact),
            "name an exported file, e.g. runs/NAME/artifacts/litert/model.tflite",
        )
    known = suffixes()
    name = next((target for suffix, target in known.items() if artifact.name.endswith(suffix)), None)
    if name is None:
        raise UnknownName.of("artifact", artifact.suffix, list(known), where=str(artifact))
    found: Target = TARGETS.load(name)()
    return found
