"""The original, as ONNX Runtime has it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch

from paring.core.errors import ParingError
from paring.core.target import Array


class Original:
    """Runs a file, and any of its values.

    Raises:
        ParingError: ONNX Runtime refuses it.
    """

    def __init__(self, path: Path, names: Sequence[str], last: Sequence[bool], batch: int | None) -> None:
        self._path, self._names, self._last, self._batch = path, names, last, batch
        self._session = self._open(str(path))

    def __call__(self, inputs: Sequence[Array]) -> list[Array]:
        """The outputs for inputs as the working form takes them."""
        return self._run(self._session, None, inputs)

    def values(self, names: Sequence[str], inputs: Sequence[Array]) -> Iterator[tuple[str, Array]]:
        """Values inside the graph, one after the other."""
        proto = onnx.load(self._path, load_external_data=False)
        have = {output.name for output in proto.graph.output}
        proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in have)
        session = self._open(proto.SerializeToString())
        for name in names:
            yield name, self._run(session, [name], inputs)[0]

    def _open(self, model: str | bytes) -> Any:
        options = onnxruntime.SessionOptions()
        # what the file says, node by node: nothing merged or moved
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 4
        if isinstance(model, bytes):
            folder = str(self._path.absolute().parent)
            options.add_session_config_entry("session.model_external_initializers_file_folder_path", folder)
        try:
            return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its own kinds, of one common name
            raise ParingError(
                f"ONNX Runtime refuses it: {_line(error)}",
                f"onnx:{self._path}",
                "copy the file again, or export it again",
            ) from error

    def _run(self, session: Any, wanted: Sequence[str] | None, inputs: Sequence[Array]) -> list[Array]:
        arrays = [a.transpose(0, 2, 3, 1) if last else a for a, last in zip(inputs, self._last, strict=True)]
        count = len(arrays[0])
        size = self._batch or count
        parts = []
        for start in range(0, count, size):
            chunk = [_filled(array[start : start + size], size) for array in arrays]
            try:
                parts.append(session.run(wanted, dict(zip(self._names, chunk, strict=True))))
            except Exception as error:  # likewise
                raise ParingError(
                    f"ONNX Runtime cannot run it: {_line(error)}",
                    f"onnx:{self._path}",
                    "give the shape that it takes: --shape, or NAME(size=…) for the data",
                ) from error
        if len(parts) == 1 and size == count:
            return list(parts[0])
        return [_joined(values, size)[:count] for values in zip(*parts, strict=True)]


def _filled(array: Array, size: int) -> Array:
    return np.ascontiguousarray(np.concatenate([array, array[-1:].repeat(size - len(array), 0)]))


def _joined(values: Sequence[Array], size: int) -> Array:
    first = values[0]
    joined: Array = np.concatenate(values) if first.ndim and first.shape[0] % size == 0 else np.stack(values)
    return joined


def _line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
