"""A `.tflite` in LiteRT's interpreter."""

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from paring.core.errors import ParingError
from paring.core.model import TensorSpec
from paring.core.quiet import quiet
from paring.core.target import Array
from paring.targets import feeding


class LiteRTRunner:
    """Contract: `paring.core.target.Runner`. One sample an inference, XNNPACK kernels where they exist.

    Takes and gives float values in the model's own layout whatever the file holds: an int8 end is quantized and
    dequantized with the file's scale, an NHWC image input is transposed.

    Args:
        artifact: the `.tflite`, of paring or of another maker.
        threads: that the interpreter may use.

    Raises:
        ParingError: no such file, or the runtime refuses it.
    """

    def __init__(self, artifact: Path, threads: int = 1) -> None:
        from ai_edge_litert.interpreter import Interpreter

        self.threads, self.runtime = threads, f"LiteRT {version('ai-edge-litert')}"
        try:
            content = artifact.read_bytes()
        except OSError as error:
            raise ParingError(f"cannot be read: {error.strerror}", str(artifact), "name a .tflite file") from error
        metadata = _metadata(content, artifact)
        try:
            with quiet():  # it tells of its delegate
                self._interpreter: Any = Interpreter(model_content=content, num_threads=threads)
                self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise ParingError(
                f"LiteRT refuses it: {str(error).splitlines()[0]}", str(artifact), "export it again"
            ) from error
        signatures = self._interpreter.get_signature_list()
        details = {d["index"]: d for d in self._interpreter.get_tensor_details()}
        ends = (self._interpreter.get_input_details(), self._interpreter.get_output_details())
        if signatures:
            by_name = self._interpreter._get_full_signature_list()
            first = by_name[next(iter(by_name))]
            ends = (_named(first["inputs"], details), _named(first["outputs"], details))
        self._inputs = {str(end["name"]): end for end in ends[0]}
        self._outputs = {str(end["name"]): end for end in ends[1]}
        if metadata is None:
            self._channels_last: bool = False
            self.inputs = tuple(_spec(name, end) for name, end in self._inputs.items())
            self.outputs = tuple(_spec(name, end) for name, end in self._outputs.items())
        else:
            self._channels_last = metadata["layout"] == "NHWC"
            self.inputs = tuple(TensorSpec.from_json(spec) for spec in metadata["inputs"])
            self.outputs = tuple(TensorSpec.from_json(spec) for spec in metadata["outputs"])

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Answers for a batch of any size; arrays by name, batch first."""
        fed = self._encode(inputs)
        count = len(next(iter(fed.values())))
        gathered: dict[str, list[Array]] = {spec.name: [] for spec in self.outputs}
        for i in range(count):
            self._put(fed, i)
            self.invoke()
            for name, answers in gathered.items():
                answers.append(self._interpreter.get_tensor(self._outputs[name]["index"]))
        return {name: _end(self._outputs[name]).decode(np.concatenate(answers)) for name, answers in gathered.items()}

    def set(self, inputs: Mapping[str, Array]) -> None:
        """Puts one sample into the interpreter's buffers."""
        self._put(self._encode(inputs), 0)

    def invoke(self) -> None:
        """One inference."""
        self._interpreter.invoke()

    def _put(self, fed: Mapping[str, Array], sample: int) -> None:
        for name, array in fed.items():
            self._interpreter.set_tensor(self._inputs[name]["index"], array[sample : sample + 1])

    def _encode(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        ends = {name: _end(details) for name, details in self._inputs.items()}
        return feeding.encode(inputs, self.inputs, ends, self._channels_last, "run in LiteRT")


def _named(ends: Mapping[str, int], details: Mapping[int, Any]) -> list[dict[str, Any]]:
    """The details of a signature's tensors, under the signature's names for them."""
    return [details[index] | {"name": name} for name, index in ends.items()]


def _end(details: Mapping[str, Any]) -> feeding.End:
    scale, zero_point = details["quantization"]
    return feeding.End(tuple(map(int, details["shape"][1:])), np.dtype(details["dtype"]), scale, zero_point)


def _spec(name: str, end: Mapping[str, Any]) -> TensorSpec:
    """What can be known of an input of a file that is not paring's."""
    quantized = end["quantization"][0] != 0.0
    shape: tuple[int | str, ...] = ("batch", *(int(size) for size in end["shape"][1:]))
    return TensorSpec(name, shape, "float32" if quantized else np.dtype(end["dtype"]).name)


def _metadata(content: bytes, artifact: Path) -> Any:
    from paring.targets.litert import flatbuffer

    if content[4:8] != b"TFL3":
        raise ParingError("is not a .tflite file", str(artifact), "name a file that LiteRT can load")
    try:
        return flatbuffer.read_metadata(content)
    except Exception as error:  # a damaged flatbuffer fails in any way
        raise ParingError("is damaged", str(artifact), "export it again") from error
