"""An `.onnx` in ONNX Runtime."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnxruntime

from paring.core.errors import ParingError
from paring.core.model import TensorSpec
from paring.core.target import Array
from paring.targets.feeding import End, OneSampleRunner
from paring.targets.onnxruntime.session import session

_TYPES = {"float": "float32", "double": "float64", "float16": "float16", "bool": "bool"} | {
    f"{sign}int{bits}": f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)
}


class ONNXRuntimeRunner(OneSampleRunner):
    """Contract: `paring.core.target.Runner`. On the CPU, one sample an inference.

    Takes and gives float values in the model's own layout whatever the file holds: ends that hold codes are quantized
    and dequantized with the file's scale, an NHWC image input is transposed. A batch runs sample by sample, as latency
    is measured: kernels for several may differ from those for one in the last bit.

    Args:
        artifact: the `.onnx`, of paring or of another maker.
        threads: that one operator may use.

    Raises:
        ParingError: no such file, the runtime refuses it, or it takes other things than tensors with a batch in front.
    """

    def __init__(self, artifact: Path, threads: int = 1) -> None:
        self.threads, self.runtime = threads, f"ONNX Runtime {onnxruntime.__version__}"
        where = str(artifact)
        self._session = session(artifact, where, threads)
        metadata = _metadata(self._session, where)
        ends = (self._session.get_inputs(), self._session.get_outputs())
        if not ends[0]:
            raise ParingError("takes no input", where, "name a model that takes data")
        scales, turned = (metadata["scales"], _turned(metadata)) if metadata else ({}, set())
        self.ends = {
            one.name: _end(one, scales.get(one.name, (0.0, 0)), one.name in turned, where)
            for side in ends
            for one in side
        }
        self.foreign = metadata is None
        if metadata is None:
            self.inputs, self.outputs = (tuple(self._spec(one.name) for one in side) for side in ends)
        else:
            self.inputs = tuple(TensorSpec.from_json(spec) for spec in metadata["inputs"])
            self.outputs = tuple(TensorSpec.from_json(spec) for spec in metadata["outputs"])
        self._binding = self._session.io_binding()
        self._fed: tuple[Array, ...] = ()

    def invoke(self) -> None:
        """One inference."""
        self._session.run_with_iobinding(self._binding)

    def _put(self, fed: Mapping[str, Array]) -> None:
        self._fed = tuple(fed.values())  # bound, not copied
        for name, array in fed.items():
            self._binding.bind_cpu_input(name, array)
        for spec in self.outputs:
            self._binding.bind_output(spec.name)

    def _taken(self) -> dict[str, Array]:
        answers = self._binding.copy_outputs_to_cpu()
        return {spec.name: array for spec, array in zip(self.outputs, answers, strict=True)}

    def _spec(self, name: str) -> TensorSpec:
        """What can be known of an end of a file that is not paring's."""
        end = self.ends[name]
        return TensorSpec(name, ("batch", *end.shape[1:]), end.dtype)


def _end(one: Any, scale: tuple[float, int], channels_last: bool, where: str) -> End:
    """An input or output as ONNX Runtime tells it: `tensor(float)`, `['batch', 3, 224, 224]`."""
    dtype = _TYPES.get(one.type.removeprefix("tensor(").removesuffix(")"))
    if dtype is None:
        raise ParingError(f"{one.name} is a {one.type}", where, f"tensors of {', '.join(sorted(_TYPES.values()))} work")
    if not one.shape or (isinstance(one.shape[0], int) and one.shape[0] != 1):
        raise ParingError(
            f"{one.name} has the shape {one.shape}, not one sample with a batch dimension in front",
            where,
            "export it with a free batch dimension, or for one sample",
        )
    shape = tuple(size if isinstance(size, int | str) else f"size_{axis}" for axis, size in enumerate(one.shape))
    return End(shape, dtype, *scale, channels_last)


def _turned(metadata: Any) -> set[str]:
    """Names of the images that the file has with their channels last."""
    return {spec["name"] for spec in metadata["inputs"] if (metadata["layout"], spec["layout"]) == ("NHWC", "NCHW")}


def _metadata(opened: Any, where: str) -> Any:
    """What `file.finish` put there; None in a file of another maker."""
    text = opened.get_modelmeta().custom_metadata_map.get("paring")
    try:
        return None if text is None else json.loads(text)
    except ValueError as error:
        raise ParingError("its metadata is damaged", where, "export it again") from error
