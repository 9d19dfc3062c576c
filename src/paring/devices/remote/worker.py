"""One measurement in a process of its own: a job in a JSON file, its result in another. Runs on the device.

A job is `{"kind": "latency" | "memory" | "run", "threads": 1, "cores": [2], "seconds": 4.0, "work": [{"artifact":
"FILE.tflite", "inputs": "FILE.npz", "kernels": ""}]}`; files are named within its folder.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from paring.core.processor import pinned
from paring.core.timing import in_turn
from paring.devices.remote import runtimes

_RUNS = 3  # inferences before memory is read


def main(job: Path, result: Path) -> None:
    """Does a job and writes its result, whole or not at all."""
    wanted = json.loads(job.read_text())
    cores, threads = wanted["cores"], wanted["threads"]
    if cores:
        os.sched_setaffinity(0, cores)
    with pinned(min(threads, len(cores)) if cores else threads):  # before loading: pools of threads inherit it
        if wanted["kind"] == "run":
            found = _run(job.parent, wanted, result.with_suffix(".npz"))
        else:
            found = {"latency": _latency, "memory": _memory}[wanted["kind"]](job.parent, wanted)
    draft = result.with_suffix(".part")
    draft.write_text(json.dumps(found))
    draft.replace(result)


def _latency(folder: Path, wanted: dict[str, Any]) -> dict[str, Any]:
    opened = [_opened(folder, work, wanted["threads"]) for work in wanted["work"]]
    for one, arrays in opened:
        one.put({name: array[:1] for name, array in arrays.items()})
    calls = {str(i): one.invoke for i, (one, _) in enumerate(opened)}
    timings = in_turn(calls, seconds=wanted["seconds"])
    return {"timings": [asdict(timings[str(i)]) for i in range(len(opened))]}


def _memory(folder: Path, wanted: dict[str, Any]) -> dict[str, Any]:
    loaded, arrays = _opened(folder, wanted["work"][0], wanted["threads"])
    loaded.put({name: array[:1] for name, array in arrays.items()})
    for _ in range(_RUNS):
        loaded.invoke()
    return {"peak": _peak()}


def _run(folder: Path, wanted: dict[str, Any], outputs: Path) -> dict[str, Any]:
    import numpy as np

    loaded, arrays = _opened(folder, wanted["work"][0], wanted["threads"])
    gathered: dict[str, list[Any]] = {}
    for i in range(len(next(iter(arrays.values())))):
        loaded.put({name: array[i : i + 1] for name, array in arrays.items()})
        loaded.invoke()
        for name, answer in loaded.taken().items():
            gathered.setdefault(name, []).append(answer)
    whole: dict[str, Any] = {name: np.concatenate(answers) for name, answers in gathered.items()}
    np.savez(outputs, **whole)
    return {"outputs": outputs.name}


def _opened(folder: Path, work: dict[str, str], threads: int) -> tuple[runtimes.Loaded, dict[str, Any]]:
    import numpy as np

    with np.load(folder / work["inputs"], allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    return runtimes.load(folder / work["artifact"], threads, work["kernels"]), arrays


def _peak() -> int:
    """Bytes resident at most, interpreter and runtime included."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
    except (OSError, StopIteration):  # macOS and the BSDs: getrusage, which is right where nothing large has forked it
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
