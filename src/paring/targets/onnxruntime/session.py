"""A file in ONNX Runtime."""

from pathlib import Path
from typing import Any

import onnxruntime

from paring.core.errors import ParingError
from paring.core.processor import cpu, saturates


def session(model: Path | bytes, where: str, threads: int = 1, optimized: Path | None = None) -> Any:
    """An `onnxruntime.InferenceSession` on the CPU.

    Args:
        model: an `.onnx`, or the content of one.
        where: for messages.
        threads: that one operator may use; operators run one after the other.
        optimized: where to write the graph as ONNX Runtime fuses it; without layouts of one processor then.

    Raises:
        ParingError: ONNX Runtime refuses the file.
    """
    if isinstance(model, Path) and not model.is_file():
        raise ParingError("there is no such file", where, "name an .onnx file")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 4
    # threads that wait for the next inference by spinning would slow whatever else is timed beside it
    options.add_session_config_entry("session.force_spinning_stop", "1")
    if saturates(cpu()):  # weights become uint8 then; on other processors that would only be slower
        options.add_session_config_entry("session.x64quantprecision", "1")
    if optimized is not None:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        options.optimized_model_filepath = str(optimized)
    try:
        return onnxruntime.InferenceSession(
            str(model) if isinstance(model, Path) else model, options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # its own kinds, of no common base
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ParingError(f"ONNX Runtime refuses it: {reason}", where, "export it again") from error
