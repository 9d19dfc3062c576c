"""Files in OpenVINO's CPU plugin."""

import json
from functools import cache
from pathlib import Path
from typing import Any

from paring.core.errors import ParingError
from paring.core.model import Json
from paring.core.processor import cpu, saturates
from paring.targets.openvino.library import openvino

GRAPH, WEIGHTS = "model.xml", "model.bin"
METADATA = "paring"  # where the file keeps what the runner must know, as JSON


@cache
def core() -> Any:
    """OpenVINO's own registry of devices: one for the process, as it takes a while to start."""
    return openvino.Core()


def read(artifact: Path) -> Any:
    """The graph of an artifact, an `openvino.Model`.

    Args:
        artifact: the folder, of paring or of another maker.

    Raises:
        ParingError: there is no such folder, or OpenVINO refuses what it holds.
    """
    if not (artifact / GRAPH).is_file():
        raise ParingError(
            f"holds no {GRAPH}", str(artifact), f"name a folder with {GRAPH} and {WEIGHTS}, as OpenVINO writes them"
        )
    try:
        # from memory: files that are mapped could not be replaced while the model lives
        weights = (artifact / WEIGHTS).read_bytes() if (artifact / WEIGHTS).is_file() else b""
        return core().read_model((artifact / GRAPH).read_bytes(), weights)
    except Exception as error:  # its own kinds, of no common base
        raise _refused(error, str(artifact)) from error


def compiled(model: Any, where: str, threads: int = 1) -> Any:
    """A graph, made ready for the CPU: an `openvino.CompiledModel`.

    Args:
        model: of `read`; an input whose batch is free takes one sample.
        where: for messages.
        threads: that it may use.

    Raises:
        ParingError: OpenVINO refuses it.
    """
    try:
        free = {end.any_name: end.partial_shape for end in model.inputs if end.partial_shape[0].is_dynamic}
        for shape in free.values():
            shape[0] = 1
        if free:
            model.reshape(free)
        return core().compile_model(
            model,
            "CPU",
            {
                # its integer kernels would give other sums on such a processor; floats hold each integer exactly
                "LP_TRANSFORMS_MODE": not saturates(cpu()),
                # by default it computes in bfloat16 where the processor can
                "INFERENCE_PRECISION_HINT": "f32",
                # and may quantize what layers with stored codes are fed
                "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0,
                "INFERENCE_NUM_THREADS": threads,
                "PERFORMANCE_HINT": "LATENCY",
                "NUM_STREAMS": 1,
                # it stays on the cores that the process was given
                "ENABLE_CPU_PINNING": False,
            },
        )
    except Exception as error:  # likewise
        raise _refused(error, where) from error


def metadata(model: Any, where: str) -> Json:
    """What `export` put into the file; None in a file of another maker."""
    if not model.has_rt_info([METADATA]):
        return None
    try:
        return json.loads(model.get_rt_info([METADATA]).astype(str))
    except ValueError as error:
        raise ParingError("its metadata is damaged", where, "export it again") from error


def _refused(error: Exception, where: str) -> ParingError:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    told = [line for line in lines if not line.startswith(("Exception from", "Check '"))] or lines
    return ParingError(f"OpenVINO refuses it: {told[0]}", where, "export it again")
