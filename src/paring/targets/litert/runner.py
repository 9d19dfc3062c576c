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
from paring.targets.feeding import End, OneSampleRunner


class LiteRTRunner(OneSampleRunner):
    """Contract: `paring.core.target.Runner`. One sample an inference, XNNPACK kernels where they exist.

    Takes and gives float values in the model's own layout whatever the file holds: an int8 end is quantized and
    dequantized with the file's scale, an NHWC image input is transposed.

    Args:
        artifact: the `.tflite`, of paring or of another maker.
        threads: that the interpreter may use.
        options: of the interpreter, besides.

    Raises:
        ParingError: no such file, or the runtime refuses it.
    """

    def __init__(self, artifact: Path, threads: int = 1, **options: Any) -> None:
        from ai_edge_litert.interpreter import Interpreter

        self.threads, self.runtime = threads, f"LiteRT {version('ai-edge-litert')}"
        try:
            content = artifact.read_bytes()
        except OSError as error:
            raise ParingError(f"cannot be read: {error.strerror}", str(artifact), "name a .tflite file") from error
        metadata = _metadata(content, artifact)
        try:
            with quiet():  # it tells of its delegate
                self.interpreter: Any = Interpreter(model_content=content, num_threads=threads, **options)
                self.interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise ParingError(
                f"LiteRT refuses it: {str(error).splitlines()[0]}", str(artifact), "export it again"
            ) from error
        signatures = self.interpreter.get_signature_list()
        details = {d["index"]: d for d in self.interpreter.get_tensor_details()}
        ends = (self.interpreter.get_input_details(), self.interpreter.get_output_details())
        if signatures:
            by_name = self.interpreter._get_full_signature_list()
            first = by_name[next(iter(by_name))]
            ends = (_named(first["inputs"], details), _named(first["outputs"], details))
        self._inputs = {str(end["name"]): int(end["index"]) for end in ends[0]}
        self._outputs = {str(end["name"]): int(end["index"]) for end in ends[1]}
        self.foreign = metadata is None
        if metadata is None:
            self.inputs = tuple(_spec(end) for end in ends[0])
            self.outputs = tuple(_spec(end) for end in ends[1])
        else:
            self.inputs = tuple(TensorSpec.from_json(spec) for spec in metadata["inputs"])
            self.outputs = tuple(TensorSpec.from_json(spec) for spec in metadata["outputs"])
        last = metadata is not None and metadata["layout"] == "NHWC"
        turned = {spec.name for spec in self.inputs if last and spec.layout == "NCHW"}
        self.ends = {str(end["name"]): _end(end, end["name"] in turned) for side in ends for end in side}

    def invoke(self) -> None:
        """One inference."""
        self.interpreter.invoke()

    def _put(self, fed: Mapping[str, Array]) -> None:
        for name, array in fed.items():
            self.interpreter.set_tensor(self._inputs[name], array)

    def _taken(self) -> dict[str, Array]:
        return {name: self.interpreter.get_tensor(index) for name, index in self._outputs.items()}


def _named(ends: Mapping[str, int], details: Mapping[int, Any]) -> list[dict[str, Any]]:
    """The details of a signature's tensors, under the signature's names for them."""
    return [details[index] | {"name": name} for name, index in ends.items()]


def _end(end: Mapping[str, Any], channels_last: bool) -> End:
    scale, zero_point = end["quantization"]
    shape = tuple(int(size) for size in end["shape"])
    return End(shape, np.dtype(end["dtype"]).name, float(scale), int(zero_point), channels_last)


def _spec(end: Mapping[str, Any]) -> TensorSpec:
    """What can be known of an input of a file that is not paring's."""
    quantized = end["quantization"][0] != 0.0
    shape: tuple[int | str, ...] = ("batch", *(int(size) for size in end["shape"][1:]))
    return TensorSpec(str(end["name"]), shape, "float32" if quantized else np.dtype(end["dtype"]).name)


def _metadata(content: bytes, artifact: Path) -> Any:
    from paring.targets.litert import flatbuffer

    if content[4:8] != b"TFL3":
        raise ParingError("is not a .tflite file", str(artifact), "name a file that LiteRT can load")
    try:
        return flatbuffer.read_metadata(content)
    except Exception as error:  # a damaged flatbuffer fails in any way
        raise ParingError("is damaged", str(artifact), "export it again") from error
