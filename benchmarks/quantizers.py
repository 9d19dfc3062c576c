"""Other people's quantizers, with the calibration samples that ours gets; each writes one file."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from paring.core.quiet import quiet
from paring.core.target import Array
from paring.core.task import Task

PEERS = Path(__file__).parents[1] / ".venv-peers" / "bin" / "python"  # `make bench` makes it


def samples(task: Task, count: int) -> Iterator[dict[str, Array]]:
    """Calibration samples, one at a time."""
    for batch in task.batches("calibration", 1, limit=count):
        yield {name: tensor.numpy() for name, tensor in batch.inputs.items()}


def ai_edge_static(float_file: Path, out: Path, task: Task, count: int) -> Path:
    """ai-edge-quantizer's static int8, float ends."""
    from ai_edge_quantizer import qtyping, quantizer
    from ai_edge_quantizer import recipe as recipes

    with quiet():
        found = quantizer.Quantizer(str(float_file), recipes.static_wi8_ai8())
        for end in (qtyping.TFLOperationName.INPUT, qtyping.TFLOperationName.OUTPUT):
            found.update_quantization_recipe(".*", end, algorithm_key="no_quantize")
        ranges = found.calibrate({"serving_default": list(samples(task, count))})
        found.quantize(ranges).export_model(str(out))
    return out


def ai_edge_dynamic(float_file: Path, out: Path) -> Path:
    """ai-edge-quantizer's dynamic int8, of every operator that it takes."""
    from ai_edge_quantizer import quantizer
    from ai_edge_quantizer import recipe as recipes

    with quiet():
        quantizer.Quantizer(str(float_file), recipes.dynamic_wi8_afp32()).quantize().export_model(str(out))
    return out


def onnx_runtime(float_file: Path, out: Path, task: Task, count: int, method: str) -> Path:
    """ONNX Runtime's own: QDQ, uint8 activations, int8 weights per channel; MinMax, Entropy or Percentile."""
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]  # untyped
        def __init__(self) -> None:
            self._left = samples(task, count)

        def get_next(self) -> dict[str, Array] | None:
            return next(self._left, None)

    prepared = out.with_suffix(".prepared.onnx")
    with quiet():
        quant_pre_process(str(float_file), str(prepared))
        quantization.quantize_static(
            str(prepared), str(out), Reader(), quant_format=quantization.QuantFormat.QDQ, per_channel=True,
            activation_type=quantization.QuantType.QUInt8, weight_type=quantization.QuantType.QInt8,
            calibrate_method=getattr(quantization.CalibrationMethod, method),
        )  # fmt: skip
    return out


def nncf(float_file: Path, out: Path, task: Task, count: int) -> Path:
    """NNCF's post-training quantization of an ONNX file (`pip install nncf`)."""
    import nncf as library
    import onnx

    with quiet():
        data = library.Dataset(list(samples(task, count)))
        found: Any = library.quantize(onnx.load(float_file), data, subset_size=count)
        onnx.save(found, out)
    return out


def neural_compressor(float_file: Path, out: Path, task: Task, count: int) -> Path:
    """Neural Compressor's static quantization of an ONNX file, in an environment of its own."""
    held = list(samples(task, count))
    arrays: dict[str, Any] = {name: np.concatenate([one[name] for one in held]) for name in held[0]}
    np.savez(out.with_suffix(".npz"), **arrays)
    script = Path(__file__).with_name("neural_compressor_peer.py")
    command = [PEERS, script, float_file, out.with_suffix(".npz"), out]
    subprocess.run([str(part) for part in command], check=True, capture_output=True, cwd=out.parent)
    return out
