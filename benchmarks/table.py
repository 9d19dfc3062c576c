"""Tables that benchmarks write: one row a figure, with its conditions."""

import csv
import os
import platform
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from paring.measure import machine

RESULTS = Path(__file__).parent / "results"


def write(name: str, rows: Iterable[Mapping[str, object]], script: str = "", keep: str = "") -> Path:
    """Writes `results/NAME.csv`; every row gets the machine, the versions, the day and the script (NAME by default).

    With `keep` rows that are there already stay, unless their value in this column is that of a new row.
    """
    conditions = {
        "cpu": machine.cpu(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "versions": " ".join(f"{name}={version}" for name, version in machine.versions().items()),
        "date": datetime.now(UTC).date().isoformat(),
        "script": f"benchmarks/{script or name}.py",
    }
    full = [{**row, **conditions} for row in rows]
    path = RESULTS / f"{name}.csv"
    path.parent.mkdir(exist_ok=True)
    if keep and path.is_file():
        done = {row[keep] for row in full}
        with path.open(newline="", encoding="utf-8") as file:
            full = [*(row for row in csv.DictReader(file) if row[keep] not in done), *full]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(full[0]))
        writer.writeheader()
        writer.writerows(full)
    for row in full:
        print("  ".join(f"{key}={value}" for key, value in row.items() if key not in conditions))
    print(path)
    return path
