"""Exported files in the runtimes of a device. Arrays go in and come out as the file itself has them.

Runs on the device: standard library, numpy and the runtime's wheel, nothing of paring's but what travels along.
"""

from __future__ import annotations

import sys
import zipfile
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from paring.core.processor import cpu, saturates

# suffix -> wheels that run such files, the first that is installed is taken: (name on the package index, module, label)
WHEELS = {
    ".tflite": (
        ("ai-edge-litert", "ai_edge_litert", "LiteRT"),
        ("tflite-runtime", "tflite_runtime", "TensorFlow Lite"),
    ),
    ".onnx": (("onnxruntime", "onnxruntime", "ONNX Runtime"),),
    ".openvino": (("openvino", "openvino", "OpenVINO"),),
    ".pte": (("executorch", "executorch", "ExecuTorch"),),
}


class Loaded(Protocol):
    """A file in its runtime, for one sample an inference."""

    def put(self, arrays: Mapping[str, Any]) -> None:
        """Hands over one sample: a batch of one of each input, by name."""

    def invoke(self) -> object:
        """One inference."""

    def taken(self) -> dict[str, Any]:
        """The last answers, by name; copies."""


def found() -> dict[str, tuple[str, str]]:
    """Suffix -> (module, name and version) of the runtime that takes such files, where there is one."""
    there = {}
    for suffix, wheels in WHEELS.items():
        for name, module, label in wheels:
            if suffix not in there and find_spec(module) is not None:
                there[suffix] = (module, f"{label} {_version(name)}".strip())
    return there


def numpy_version() -> str:
    """Of numpy; empty where it is not installed."""
    return _version("numpy") if find_spec("numpy") is not None else ""


def load(path: Path, threads: int, kernels: str = "") -> Loaded:
    """Loads a file into its runtime; whatever the runtime raises passes.

    Args:
        path: ends in the suffix of its kind.
        threads: that the runtime may use.
        kernels: `reference` for LiteRT's own without XNNPACK; empty for those that the runtime chooses.
    """
    module, _ = found()[path.suffix]
    kinds: dict[str, Callable[[str, Path, int, str], Loaded]] = {
        ".tflite": _TFLite, ".onnx": _ONNX, ".openvino": _OpenVINO, ".pte": _PTE,
    }  # fmt: skip
    return kinds[path.suffix](module, path, threads, kernels)


class _TFLite:
    def __init__(self, module: str, path: Path, threads: int, kernels: str) -> None:
        interpreter = import_module(f"{module}.interpreter")
        options: dict[str, Any] = {}
        if kernels == "reference":
            options["experimental_op_resolver_type"] = interpreter.OpResolverType.BUILTIN_REF
        self._interpreter = interpreter.Interpreter(model_path=str(path), num_threads=threads, **options)
        self._interpreter.allocate_tensors()
        if self._interpreter.get_signature_list():
            by_name = self._interpreter._get_full_signature_list()
            first = by_name[next(iter(by_name))]
            self._inputs, self._outputs = dict(first["inputs"]), dict(first["outputs"])
        else:
            ends = self._interpreter.get_input_details(), self._interpreter.get_output_details()
            self._inputs, self._outputs = ({str(end["name"]): int(end["index"]) for end in side} for side in ends)
        self.invoke = self._interpreter.invoke

    def put(self, arrays: Mapping[str, Any]) -> None:
        for name, array in arrays.items():
            self._interpreter.set_tensor(self._inputs[name], array)

    def taken(self) -> dict[str, Any]:
        return {name: self._interpreter.get_tensor(index) for name, index in self._outputs.items()}


class _ONNX:
    def __init__(self, module: str, path: Path, threads: int, kernels: str) -> None:
        onnxruntime = import_module(module)
        options = onnxruntime.SessionOptions()  # as in targets/onnxruntime/session.py
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = 4
        options.add_session_config_entry("session.force_spinning_stop", "1")
        if saturates(cpu()):
            options.add_session_config_entry("session.x64quantprecision", "1")
        self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self._binding = self._session.io_binding()
        self._fed: list[Any] = []

    def put(self, arrays: Mapping[str, Any]) -> None:
        self._fed = list(arrays.values())  # bound, not copied
        for name, array in arrays.items():
            self._binding.bind_cpu_input(name, array)
        for end in self._session.get_outputs():
            self._binding.bind_output(end.name)

    def invoke(self) -> None:
        self._session.run_with_iobinding(self._binding)

    def taken(self) -> dict[str, Any]:
        names = [end.name for end in self._session.get_outputs()]
        return dict(zip(names, self._binding.copy_outputs_to_cpu(), strict=True))


class _OpenVINO:
    """The folder travels as a zip file."""

    def __init__(self, module: str, path: Path, threads: int, kernels: str) -> None:
        # by which it tells its makers that it was imported
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
        core = import_module(module).Core()
        with zipfile.ZipFile(path) as folder:
            model = core.read_model(folder.read("model.xml"), folder.read("model.bin"))
        free = {end.any_name: end.partial_shape for end in model.inputs if end.partial_shape[0].is_dynamic}
        for shape in free.values():
            shape[0] = 1
        model.reshape(free)
        options = {  # as in targets/openvino/plugin.py
            "LP_TRANSFORMS_MODE": not saturates(cpu()),
            "INFERENCE_PRECISION_HINT": "f32",
            "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0,
            "INFERENCE_NUM_THREADS": threads,
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
            "ENABLE_CPU_PINNING": False,
        }
        self._request = core.compile_model(model, "CPU", options).create_infer_request()
        self._tensor = import_module(module).Tensor
        self._outputs = [end.any_name for end in model.outputs]
        self._fed: list[Any] = []
        self.invoke = self._request.infer

    def put(self, arrays: Mapping[str, Any]) -> None:
        self._fed = [self._tensor(array, shared_memory=True) for array in arrays.values()]  # bound, not copied
        for name, tensor in zip(arrays, self._fed, strict=True):
            self._request.set_tensor(name, tensor)

    def taken(self) -> dict[str, Any]:
        return {name: self._request.get_tensor(name).data.copy() for name in self._outputs}


class _PTE:
    """The ends of a `.pte` have no names: inputs are taken in the order given, outputs are `0`, `1`, …."""

    def __init__(self, module: str, path: Path, threads: int, kernels: str) -> None:
        library = import_module(f"{module}.extension.pybindings.portable_lib")
        library._unsafe_reset_threadpool(threads)  # before a method is loaded: it takes two by default
        self._content = path.read_bytes()  # the program reads from it as long as it lives, and keeps no reference
        self._program = library._load_program_from_buffer(self._content)
        self._method = self._program.load_method("forward")
        self.invoke = self._method.execute

    def put(self, arrays: Mapping[str, Any]) -> None:
        import torch  # ExecuTorch's Python runtime needs it

        dense = torch.contiguous_format
        self._fed = [torch.from_numpy(array).clone(memory_format=dense) for array in arrays.values()]
        self._method.set_inputs(self._fed)

    def taken(self) -> dict[str, Any]:
        return {str(i): answer.numpy().copy() for i, answer in enumerate(self._method.get_outputs())}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
