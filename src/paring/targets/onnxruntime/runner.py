"""An `.onnx` in ONNX Runtime."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from paring.core.errors import ParingError
from paring.core.model import TensorSpec
from paring.core.target import Array
from paring.targets import feeding
from paring.targets.onnxruntime.session import session

_TYPES = {"float": "float32", "double": "float64", "float16": "float16", "bool": "bool"} | {
    f"{sign}int{bits}": f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)
}
_WHERE = "run in ONNX Runtime"


class ONNXRuntimeRunner:
    """Contract: `paring.core.target.Runner`. On the CPU, one sample an inference.

    Takes and gives float values in the model's own layout whatever the file holds: ends that hold codes are quantized
    and dequantized with the file's scale, an NHWC image input is transposed.

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
        scales = metadata["scales"] if metadata else {}
        self._inputs = {one.name: _end(one, scales, where) for one in self._session.get_inputs()}
        self._outputs = {one.name: _end(one, scales, where) for one in self._session.get_outputs()}
        if not self._inputs:
            raise ParingError("takes no input", where, "name a model that takes data")
        if metadata is None:
            self._channels_last: bool = False
            self.inputs = tuple(_spec(name, end) for name, end in self._inputs.items())
            self.outputs = tuple(_spec(name, end) for name, end in self._outputs.items())
        else:
            self._channels_last = metadata["layout"] == "NHWC"
            self.inputs = tuple(TensorSpec.from_json(spec) for spec in metadata["inputs"])
            self.outputs = tuple(TensorSpec.from_json(spec) for spec in metadata["outputs"])
        self._binding = self._session.io_binding()

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Answers for a batch of any size; arrays by name, batch first.

        Samples run one by one, as latency is measured: kernels for several differ in the last bit from those for one.
        """
        fed = self._encode(inputs)
        names = [spec.name for spec in self.outputs]
        gathered = [
            self._session.run(names, {name: array[i : i + 1] for name, array in fed.items()})
            for i in range(len(next(iter(fed.values()))))
        ]
        answers = [np.concatenate(parts) for parts in zip(*gathered, strict=True)]
        return {name: self._outputs[name].decode(answer) for name, answer in zip(names, answers, strict=True)}

    def set(self, inputs: Mapping[str, Array]) -> None:
        """Binds one sample to the inputs."""
        for name, array in self._encode(inputs).items():
            self._binding.bind_ortvalue_input(name, onnxruntime.OrtValue.ortvalue_from_numpy(array[:1]))
        for name in self._outputs:
            self._binding.bind_output(name)

    def invoke(self) -> None:
        """One inference."""
        self._session.run_with_iobinding(self._binding)

    def _encode(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        return feeding.encode(inputs, self.inputs, self._inputs, self._channels_last, _WHERE)


def _end(one: Any, scales: Mapping[str, tuple[float, int]], where: str) -> feeding.End:
    """An input or output as ONNX Runtime tells it: `tensor(float)`, `['batch', 3, 224, 224]`."""
    dtype = _TYPES.get(one.type.removeprefix("tensor(").removesuffix(")"))
    if dtype is None:
        raise ParingError(f"{one.name} is a {one.type}", where, f"tensors of {', '.join(sorted(_TYPES.values()))} work")
    if not one.shape or (one.shape[0] not in (1, None) and not isinstance(one.shape[0], str)):
        raise ParingError(
            f"{one.name} has the shape {one.shape}, not one sample with a batch dimension in front",
            where,
            "export it with a free batch dimension, or for one sample",
        )
    shape = tuple(size if isinstance(size, int | str) else f"size_{axis}" for axis, size in enumerate(one.shape[1:], 1))
    return feeding.End(shape, np.dtype(dtype), *scales.get(one.name, (0.0, 0)))


def _spec(name: str, end: feeding.End) -> TensorSpec:
    """What can be known of an end of a file that is not paring's."""
    return TensorSpec(name, ("batch", *end.shape), end.dtype.name)


def _metadata(opened: Any, where: str) -> Any:
    """What `file.finish` put there; None in a file of another maker."""
    text = opened.get_modelmeta().custom_metadata_map.get("paring")
    try:
        return None if text is None else json.loads(text)
    except ValueError as error:
        raise ParingError("its metadata is damaged", where, "export it again") from error
