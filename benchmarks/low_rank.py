"""Low rank: ResNet-20 on Fashion-MNIST at half of its multiply–accumulates, all-MiniLM's matrices at half their size.

    python benchmarks/low_rank.py train --checkpoint minilm.safetensors [--part 0/2]
    python benchmarks/low_rank.py judge --checkpoint minilm.safetensors [--only ResNet-20]

ResNet-20: two epochs of recovery; all-MiniLM: one, and untrained for plain and data-aware factors beside each other.
The original teaches. The options are one guess each, no others were tried; the test split is read once, for the table.
What is in runs/low_rank is not done again.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path

from table import write
from trainings import RECOVERY, ROOT, SEEDS, TUNING, Steps, Training, judged, minilm, resnet, train

MATRICES = {"only": ["*.encoder.layer.*"], "ratio": 0.5}
TAUGHT = {**TUNING, "epochs": 1, "teacher": "original", "temperature": 2.0, "teacher_share": 0.9}
VISION: Mapping[str, Steps] = {
    f"{name}, half of the MACs": [(name, {"macs": 0.5, "recover": {**RECOVERY, "epochs": 2}})]
    for name in ("factorize.tucker", "factorize.cp", "factorize.svd")
}
SPREAD = {"only": MATRICES["only"], "parameters": 0.7582}  # of the network, which is half of these matrices
TEXT: Mapping[str, Steps] = {
    "data-aware, untrained": [("factorize.svd", MATRICES)],
    "plain, untrained": [("factorize.svd", {**MATRICES, "data_aware": False})],
    "data-aware, ranks by sensitivity, untrained": [("factorize.svd", SPREAD)],
    "data-aware, ranks by sensitivity, one epoch": [
        ("factorize.svd", {**SPREAD, "recover": {**TAUGHT, "features": ["hidden_cosine"]}})
    ],
    "data-aware, one epoch": [("factorize.svd", {**MATRICES, "recover": TAUGHT})],
}


def trainings(checkpoint: Path) -> list[Training]:
    """All of them, seed by seed; what is not trained, once."""
    found = []
    for seed in SEEDS:
        found += [Training("low_rank", resnet(), who, steps, seed) for who, steps in VISION.items()]
        found += [
            Training("low_rank", minilm(checkpoint), who, steps, seed)
            for who, steps in TEXT.items()
            if not (seed and who.endswith("untrained"))
        ]
    return found


def main() -> None:
    """Does what is asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("train", "judge"))
    parser.add_argument("--part", default="0/1", help="e.g. 0/2: every second training")
    parser.add_argument("--checkpoint", type=Path, default=ROOT / "runs" / "minilm.safetensors")
    parser.add_argument("--only", choices=("ResNet-20", "all-MiniLM"), help="rows of the other stay in the table")
    given = parser.parse_args()
    found = [one for one in trainings(given.checkpoint) if given.only in (None, one.network.name)]
    if given.what == "train":
        train(found, given.part)
    else:
        write("low_rank", judged(found), keep="network")


if __name__ == "__main__":
    main()
