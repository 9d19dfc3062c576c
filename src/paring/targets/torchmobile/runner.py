"""A `.ptl` in PyTorch's lite interpreter."""

import json
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
import torch.jit.mobile

from paring.core.errors import ParingError
from paring.core.model import Json, TensorSpec
from paring.core.quiet import quiet
from paring.core.target import Array
from paring.targets.feeding import End, OneSampleRunner
from paring.targets.torchmobile.engine import engine
from paring.targets.torchmobile.script import METADATA, jit, native
from paring.targets.traced import first_line


class TorchMobileRunner(OneSampleRunner):
    """Contract: `paring.core.target.Runner`. One sample an inference, quantized operators on QNNPACK.

    Args:
        artifact: the `.ptl`, of paring: another maker's does not tell its inputs.
        threads: that operators may use.

    Raises:
        ParingError: no such file, it is damaged or another maker's, or the interpreter refuses it.
    """

    def __init__(self, artifact: Path, threads: int = 1) -> None:
        self.threads, self.runtime = threads, f"PyTorch Mobile {torch.__version__.partition('+')[0]}"
        try:
            content = artifact.read_bytes()
        except OSError as error:
            raise ParingError(f"cannot be read: {error.strerror}", str(artifact), "name a .ptl file") from error
        try:
            with quiet(), engine():
                metadata = _metadata(content)
                self._module: Any = jit.mobile._load_for_lite_interpreter(BytesIO(content))
        except (RuntimeError, ValueError) as error:
            raise ParingError(
                f"the lite interpreter refuses it: {first_line(error)}", str(artifact), "export it again"
            ) from error
        if metadata is None:
            raise ParingError(
                "does not tell its inputs as paring writes them",
                str(artifact),
                "export it with paring's target torchmobile",
            )
        self.inputs = tuple(TensorSpec.from_json(spec) for spec in metadata["inputs"])
        self.outputs = tuple(TensorSpec.from_json(spec) for spec in metadata["outputs"])
        self.ends = {name: End(**end | {"shape": tuple(end["shape"])}) for name, end in metadata["ends"].items()}
        self._fed: tuple[torch.Tensor, ...] = ()
        self._answer: tuple[torch.Tensor, ...] = ()

    def invoke(self) -> None:
        """One inference."""
        with engine(self.threads):
            answer = self._module(*self._fed)
        self._answer = answer if isinstance(answer, tuple) else (answer,)

    def _put(self, fed: Mapping[str, Array]) -> None:
        self._fed = tuple(torch.from_numpy(fed[spec.name]) for spec in self.inputs)

    def _taken(self) -> dict[str, Array]:
        return {spec.name: one.numpy().copy() for spec, one in zip(self.outputs, self._answer, strict=True)}


def _metadata(content: bytes) -> Json:
    """What paring put into a file; None in one of another maker. Raises RuntimeError where it is no such archive."""
    if not content:
        raise ValueError("it is empty")
    archive, name = native.PyTorchFileReader(BytesIO(content)), f"extra/{METADATA}"
    return json.loads(archive.get_record(name)) if archive.has_record(name) else None
