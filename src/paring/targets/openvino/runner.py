"""OpenVINO's intermediate representation in OpenVINO."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from paring.core.errors import ParingError
from paring.core.model import Json, TensorSpec
from paring.core.target import Array
from paring.targets.feeding import End, OneSampleRunner
from paring.targets.openvino import plugin
from paring.targets.openvino.library import openvino


class OpenVINORunner(OneSampleRunner):
    """Contract: `paring.core.target.Runner`. On the CPU, one sample an inference, floats in float32.

    Takes and gives float values in the model's own layout whatever the file holds, as ONNX Runtime's runner does.

    Args:
        artifact: the folder, of paring or of another maker.
        threads: that it may use.

    Raises:
        ParingError: no such folder, OpenVINO refuses it, or it takes other things than tensors with a batch in front.
    """

    def __init__(self, artifact: Path, threads: int = 1) -> None:
        where, version = str(artifact), openvino.__version__.partition("-")[0]
        self.threads, self.runtime = threads, f"OpenVINO {version}"
        model = plugin.read(artifact)
        sides = model.inputs, model.outputs
        if not sides[0]:
            raise ParingError("takes no input", where, "name a model that takes data")
        metadata = plugin.metadata(model, where)
        self.ends = {name: end for side in sides for one in side for name, end in [_end(one, metadata, where)]}
        self.foreign = metadata is None
        if metadata is None:
            self.inputs, self.outputs = (tuple(self._spec(_name(one)) for one in side) for side in sides)
        else:
            self.inputs = tuple(TensorSpec.from_json(spec) for spec in metadata["inputs"])
            self.outputs = tuple(TensorSpec.from_json(spec) for spec in metadata["outputs"])
        self._request = plugin.compiled(model, where, threads).create_infer_request()
        self._fed: tuple[Any, ...] = ()

    def invoke(self) -> None:
        """One inference."""
        self._request.infer()

    def _put(self, fed: Mapping[str, Array]) -> None:
        self._fed = tuple(openvino.Tensor(array, shared_memory=True) for array in fed.values())  # bound, not copied
        for name, tensor in zip(fed, self._fed, strict=True):
            self._request.set_tensor(name, tensor)

    def _taken(self) -> dict[str, Array]:
        return {spec.name: np.array(self._request.get_tensor(spec.name).data) for spec in self.outputs}

    def _spec(self, name: str) -> TensorSpec:
        """What can be known of an end of a file that is not paring's."""
        end = self.ends[name]
        return TensorSpec(name, ("batch", *end.shape[1:]), end.dtype)


def _name(one: Any) -> str:
    return str(one.any_name if one.names else one.node.get_friendly_name())


def _end(one: Any, metadata: Json, where: str) -> tuple[str, End]:
    """An input or output of the graph by its name."""
    name, shape = _name(one), one.partial_shape
    if shape.rank.is_dynamic or not len(shape) or (shape[0].is_static and shape[0].get_length() != 1):
        raise ParingError(
            f"{name} has the shape {shape}, not one sample with a batch dimension in front",
            where,
            "export it with a free batch dimension, or for one sample",
        )
    sizes = tuple(f"size_{axis}" if size.is_dynamic else size.get_length() for axis, size in enumerate(shape))
    scale, turned = (0.0, 0), False
    if metadata is not None:
        scale = metadata["scales"].get(name, scale)
        turned = metadata["layout"] == "NHWC" and any(
            (spec["name"], spec["layout"]) == (name, "NCHW") for spec in metadata["inputs"]
        )
    return name, End(sizes, np.dtype(one.element_type.to_dtype()).name, *scale, turned)
