"""Random networks through steps and targets: how many are right, refused before work, or faults; and the faults.

    python benchmarks/random_networks.py --networks 800 --workers 2

Each worker is a process that takes some seeds at a time, so that a crash costs these alone. Finished seeds are kept in
`runs/random_networks.jsonl`, and the same command goes on from there; every fault is in it with its plan.
"""

import argparse
import json
import subprocess
import sys
import warnings
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from table import write

CHUNK = 10  # networks of one process
PATIENCE = 1800  # seconds for these
KEPT = Path("runs/random_networks.jsonl")
FAULTS = {"wrong", "crash", "unproven", "late"}


def one_chunk(seed: int, targets: list[str]) -> None:
    """Prints, as one JSON line each, what became of the networks of one seed."""
    warnings.filterwarnings("ignore")
    import torch
    from hypothesis import HealthCheck, Phase, given, settings
    from hypothesis import seed as seeded

    from paring.testing import random_networks
    from paring.testing.random_networks import trial

    torch.set_num_threads(1)
    drawn: list[random_networks.Plan] = []
    kinds: set[tuple[str, ...]] = set()

    @seeded(seed)
    @settings(max_examples=2 * CHUNK, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(random_networks.plans())
    def draw(plan: random_networks.Plan) -> None:
        kinds.add(tuple(node["kind"] for node in plan["nodes"]))  # Hypothesis likes to vary what it had
        if len(kinds) > len(drawn):
            drawn.append(plan)

    draw()
    for number, plan in enumerate(drawn):
        other = trial.OTHERS[(seed + number) % len(trial.OTHERS)]
        for one in random_networks.trials(plan, targets, [trial.FLOAT, trial.STATIC, other]):
            line = {"seed": seed, "step": one.step, "target": one.target, "verdict": one.verdict}
            line |= {"reason": one.reason, "plan": plan} if one.verdict in FAULTS else {}
            print(json.dumps(line), flush=True)
    print(json.dumps({"seed": seed, "networks": len(drawn)}), flush=True)


def run_chunk(seed: int, targets: list[str]) -> list[dict[str, object]]:
    """A chunk in a process of its own; what it did before it crashed counts, and the crash."""
    command = [sys.executable, __file__, "--chunk", str(seed), "--targets", ",".join(targets)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
        said, ended = done.stdout, "" if done.returncode == 0 else f"the process ended with {done.returncode}"
    except subprocess.TimeoutExpired as error:
        said = error.stdout.decode() if isinstance(error.stdout, bytes) else error.stdout or ""
        ended = f"no end within {PATIENCE} s"
    found = [json.loads(line) for line in said.splitlines() if line.startswith('{"seed"')]
    if ended:
        found += [
            {"seed": seed, "step": "", "target": "", "verdict": "crash", "reason": ended},
            {"seed": seed, "networks": 0},
        ]
    return found


def main() -> None:
    """Runs what is asked for and writes `results/random_networks.csv`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", type=int, default=800)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--targets", default="litert,onnxruntime,executorch,openvino,torchmobile,micro")
    parser.add_argument("--chunk", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    targets = [name for name in given.targets.split(",") if name]
    if given.chunk is not None:
        one_chunk(given.chunk, targets)
        return
    KEPT.parent.mkdir(exist_ok=True)
    lines = [json.loads(line) for line in KEPT.read_text().splitlines()] if KEPT.exists() else []
    finished = {line["seed"] for line in lines if "networks" in line}
    lines = [line for line in lines if line["seed"] in finished]
    wanted = [seed for seed in range(given.first, given.first + given.networks // CHUNK) if seed not in finished]
    with ThreadPoolExecutor(given.workers) as pool, KEPT.open("a") as kept:
        for found in pool.map(lambda seed: run_chunk(seed, targets), wanted):
            for line in found:
                kept.write(json.dumps(line) + "\n")
            kept.flush()
            lines += found
            report(lines)
    report(lines)


def report(lines: list[dict[str, object]]) -> None:
    """The table: one row for each step, target and verdict."""
    networks = sum(int(str(line["networks"])) for line in lines if "networks" in line)
    counted = Counter((line["step"], line["target"], line["verdict"]) for line in lines if "verdict" in line)
    write(
        "random_networks",
        [
            {"step": step or "float", "target": target or "graph, saved and loaded", "verdict": verdict, "count": count,
             "networks": networks}
            for (step, target, verdict), count in sorted(counted.items(), key=str)
        ],
    )  # fmt: skip


if __name__ == "__main__":
    main()
