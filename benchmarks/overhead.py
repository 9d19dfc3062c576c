"""paring's own overhead: `paring compress` against the bare library calls, whole processes, in turn.

The bare calls do what the libraries need: load the weights, export and convert the float model, export, calibrate and
convert the quantized model. `compress` does that and everything else: checks, accuracy on the whole test split of the
model before and after and of both files, latency, memory, report.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from table import write

RUNS = 2
CHECKPOINT = "checkpoints/mobilenet_v2-w0.5-fashion_mnist.safetensors"


def bare(folder: Path) -> None:
    """The libraries by hand; runs in a process of its own."""
    import litert_torch
    import torch
    from litert_torch.quantize.pt2e_quantizer import PT2EQuantizer, get_symmetric_quantization_config
    from litert_torch.quantize.quant_config import QuantConfig
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    from paring.data import open as open_data
    from paring.load import saved

    module = saved.load(Path(CHECKPOINT)).module  # the same network; the rest is theirs
    image = torch.zeros(1, 1, 28, 28)
    litert_torch.convert(module, (image,)).export(str(folder / "float.tflite"))
    config = get_symmetric_quantization_config(is_per_channel=True, is_dynamic=False)
    quantizer = PT2EQuantizer().set_global(config)
    graph = torch.export.export(module, (image,)).module()
    prepared = prepare_pt2e(graph, quantizer)
    with torch.no_grad():
        for batch in open_data("fashion-mnist").batches("calibration", 1, limit=256):
            prepared(batch.inputs["image"])
    converted = convert_pt2e(prepared, fold_quantize=False)
    litert_torch.convert(converted, (image,), quant_config=QuantConfig(pt2e_quantizer=quantizer)).export(
        str(folder / "int8.tflite")
    )


def timed(command: list[str]) -> dict[str, float]:
    """Wall and CPU seconds of a process."""
    before, start = os.times(), time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    wall, after = time.perf_counter() - start, os.times()
    spent = after.children_user - before.children_user + after.children_system - before.children_system
    return {"wall": wall, "cpu": spent}


def main() -> None:
    """Runs both in turn and writes `results/overhead.csv`."""
    taken: dict[str, list[dict[str, float]]] = {"compress": [], "bare": []}
    for _ in range(RUNS):
        with TemporaryDirectory() as folder:
            taken["bare"].append(timed([sys.executable, __file__, "bare", folder]))
            run = [sys.executable, "-c", "from paring.cli import main; main()", "compress", "examples/demo.yaml"]
            taken["compress"].append(timed([*run, "--out", f"{folder}/run"]))
    rows: list[dict[str, object]] = []
    for clock in ("wall", "cpu"):
        for who, times in taken.items():
            seconds = [t[clock] for t in times]
            rows.append({"who": who, "metric": f"{clock} time", "value": f"{median(seconds):.2f}", "unit": "s",
                         "all": json.dumps([round(s, 2) for s in seconds])})  # fmt: skip
        ratios = [c[clock] / b[clock] for c, b in zip(taken["compress"], taken["bare"], strict=True)]
        rows.append({"who": "compress / bare", "metric": f"{clock} time", "value": f"{median(ratios):.3f}", "unit": "1",
                     "all": json.dumps([round(r, 3) for r in ratios])})  # fmt: skip
    write("overhead", rows)


if __name__ == "__main__":
    if sys.argv[1:2] == ["bare"]:
        bare(Path(sys.argv[2]))
    else:
        main()
