"""Runtimes that models are exported to, one folder each."""

from paring.core.registry import Registry

TARGETS = Registry(
    "target",
    {
        "executorch": "paring.targets.executorch:ExecuTorch",
        "litert": "paring.targets.litert:LiteRT",
        "onnxruntime": "paring.targets.onnxruntime:ONNXRuntime",
    },
    extras={"executorch": "executorch", "litert": "litert", "onnxruntime": "onnxruntime"},
)
