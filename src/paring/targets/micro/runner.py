"""A `.micro.tflite` in TensorFlow Lite Micro's interpreter."""

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from paring.core.errors import ParingError
from paring.core.quiet import quiet
from paring.core.target import Array
from paring.targets.litert.runner import LiteRTRunner
from paring.targets.micro import arena


class MicroRunner(LiteRTRunner):
    """Contract: `paring.core.target.Runner`. The kernels are TensorFlow Lite Micro's reference ones.

    LiteRT reads the file first: its names, shapes and scales.

    Args:
        artifact: the `.micro.tflite`.
        threads: told on; the interpreter has one.

    Raises:
        ParingError: no such file, or the interpreter refuses it.
    """

    def __init__(self, artifact: Path, threads: int = 1) -> None:
        from tflite_micro.python.tflite_micro import runtime

        super().__init__(artifact, threads)
        self.runtime = f"TensorFlow Lite Micro {version('tflite-micro')}"
        details = self.interpreter.get_input_details(), self.interpreter.get_output_details()
        places = [{int(one["index"]): place for place, one in enumerate(side)} for side in details]
        self._given = {name: places[0][index] for name, index in self._inputs.items()}
        self._asked = {name: places[1][index] for name, index in self._outputs.items()}
        needed = arena.size(artifact)
        try:
            with quiet():
                self._micro: Any = runtime.Interpreter.from_bytes(artifact.read_bytes(), arena_size=needed)
        except RuntimeError as error:
            raise ParingError(f"TensorFlow Lite Micro refuses it: {error}", str(artifact), "export it again") from error

    def invoke(self) -> None:
        """One inference."""
        self._micro.invoke()

    def _put(self, fed: Mapping[str, Array]) -> None:
        for name, array in fed.items():
            self._micro.set_input(array, self._given[name])

    def _taken(self) -> dict[str, Array]:
        return {name: self._micro.get_output(place).copy() for name, place in self._asked.items()}
