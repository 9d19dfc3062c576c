"""An `.mlpackage` in Core ML, on a Mac."""

import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from paring.core.errors import ParingError
from paring.core.model import TensorSpec
from paring.core.quiet import quiet
from paring.core.target import Array
from paring.targets.coreml import package
from paring.targets.coreml.library import ct
from paring.targets.coreml.translate import ENDS
from paring.targets.feeding import End, OneSampleRunner


class CoreMLRunner(OneSampleRunner):
    """Contract: `paring.core.target.Runner`. One sample an inference, on whatever units Core ML chooses.

    Args:
        artifact: the `.mlpackage`, of paring.
        threads: Core ML does not let them be chosen.

    Raises:
        ParingError: no such folder, another maker's, or Core ML refuses it.
    """

    def __init__(self, artifact: Path, threads: int = 1) -> None:
        self.threads, self.runtime = threads, f"Core ML of macOS {platform.mac_ver()[0]}"
        metadata = package.metadata(artifact)
        if metadata is None:
            raise ParingError(
                "does not tell its inputs as paring writes them", str(artifact), "export it with paring's target coreml"
            )
        self.inputs = tuple(TensorSpec.from_json(spec) for spec in metadata["inputs"])
        self.outputs = tuple(TensorSpec.from_json(spec) for spec in metadata["outputs"])
        self.ends = {
            spec.name: End(spec.sized(1), np.dtype(ENDS[spec.dtype]).name) for spec in (*self.inputs, *self.outputs)
        }
        with quiet():
            self._model: Any = ct.models.MLModel(str(artifact))
        if self._model.__proxy__ is None:  # it tells so only when it is to run
            reason = str(self._model._framework_error or "no reason was given").splitlines()[0]
            raise ParingError(f"Core ML refuses it: {reason}", str(artifact), "export it again")
        self._fed: Mapping[str, Array] = {}
        self._given: Mapping[str, Array] = {}

    def invoke(self) -> None:
        """One inference."""
        self._given = self._model.predict(self._fed)

    def _put(self, fed: Mapping[str, Array]) -> None:
        self._fed = fed

    def _taken(self) -> dict[str, Array]:
        return {spec.name: np.asarray(self._given[spec.name]).astype(spec.dtype) for spec in self.outputs}
