"""The figures of the spine: the demo's network in float and int8, beside the libraries used by hand.

By hand: ai-edge-quantizer's static int8 recipe on the float file, with the same calibration samples, int8 ends. All
files are timed interleaved in one run; accuracy is taken on the whole test split, each file in LiteRT.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

from table import write

import paring
from paring.core.progress import Silent
from paring.core.quiet import quiet
from paring.core.record import Record
from paring.data import open as open_data
from paring.measure import measurements
from paring.targets.litert import LiteRT

CHECKPOINT = Path("checkpoints/mobilenet_v2-w0.5-fashion_mnist.safetensors")
SAMPLES = 256


def recipe(method: str, io: str) -> dict[str, object]:
    """The demo's recipe with another calibration or other ends."""
    return {
        "version": 1,
        "model": str(CHECKPOINT),
        "data": "fashion-mnist",
        "targets": [{"litert": {"io": io}}],
        "steps": [{"quantize.static": {"calibration": {"method": method, "samples": SAMPLES}}}],
    }


def by_hand(float_file: Path, out: Path) -> Path:
    """ai-edge-quantizer on the float file."""
    from ai_edge_quantizer import quantizer
    from ai_edge_quantizer import recipe as recipes

    task = open_data("fashion-mnist")
    batches = task.batches("calibration", 1, limit=SAMPLES)
    samples = [{"image": batch.inputs["image"].numpy()} for batch in batches]
    with quiet():
        found = quantizer.Quantizer(str(float_file), recipes.static_wi8_ai8())
        found.quantize(found.calibrate({"serving_default": samples})).export_model(str(out))
    return out


def main() -> None:
    """Runs everything and writes `results/spine.csv`."""
    task, target = open_data("fashion-mnist"), LiteRT()
    rows: list[dict[str, object]] = []

    def note(who: str, record: Record) -> None:
        rows.append(
            {
                "who": who, "metric": record.metric, "value": f"{record.value:.6g}", "unit": record.unit,
                "spread": "" if record.spread is None else f"{record.spread:.3g}", "samples": record.samples,
                "device": record.device, "source": record.source,
            }
        )  # fmt: skip

    with TemporaryDirectory() as folder:
        files: dict[str, Path] = {}
        for method, io in (("minmax", "int8"), ("mse", "int8"), ("mse", "float32")):
            found = paring.compress(recipe(method, io), out=Path(folder) / f"{method}-{io}")
            files[f"paring static int8, {method}, {io} ends"] = found.artifacts["litert"]
            float_file = found.path / "artifacts" / "baseline.litert" / "model.tflite"
            torch_accuracy = found.report.find("baseline", "accuracy")[0]
        files = {"float": float_file, **files}
        files["ai-edge-quantizer static int8, int8 ends"] = by_hand(float_file, Path(folder) / "hand.tflite")

        note("float in PyTorch", torch_accuracy)
        for who, path in files.items():
            (record,) = measurements.accuracy_of(target.open(path), task, "test", who, Silent())
            note(who, record)
        for who, path in files.items():
            for record in measurements.footprint(target, path, who, 1):
                note(who, record)
        for record in measurements.latency({who: target.open(path) for who, path in files.items()}, seconds=20):
            note(record.stage, record)
        base = float_file.stat().st_size
        for who, path in files.items():
            share = path.stat().st_size / base
            rows.append(
                {"who": who, "metric": "size_ratio", "value": f"{share:.4f}", "unit": "1", "spread": "", "samples": 1,
                 "device": "none", "source": "stat"}
            )  # fmt: skip
    write("spine", rows)


if __name__ == "__main__":
    main()
