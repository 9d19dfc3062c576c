"""Runtimes that models are exported to, one folder each."""

from paring.core.registry import Registry

TARGETS = Registry(
    "target",
    {"litert": "paring.targets.litert:LiteRT", "onnxruntime": "paring.targets.onnxruntime:ONNXRuntime"},
    extras={"litert": "litert", "onnxruntime": "onnxruntime"},
)
