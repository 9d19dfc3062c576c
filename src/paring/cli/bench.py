"""`paring bench`: latency, size and memory of artifacts, side by side."""

from pathlib import Path
from typing import Annotated

import typer

from paring.cli.options import Threads


def add(app: typer.Typer) -> None:
    """Adds the command."""

    @app.command()
    def bench(
        artifacts: Annotated[list[Path], typer.Argument(help="Exported files; ratios are to the first.")],
        threads: Threads = 1,
        seconds: Annotated[float, typer.Option(help="To spend on the latency of all.", min=0.1)] = 4.0,
        serving: Annotated[bool, typer.Option("--serving", help="Also start, threads and batches.")] = False,
    ) -> None:
        """Time exported files in turn in their runtime, and measure size and peak memory."""
        from rich.console import Console
        from rich.table import Table

        from paring import api
        from paring.report import human
        from paring.report.metrics import label

        records = api.bench(artifacts, threads=threads, seconds=seconds, with_serving=serving)
        metrics = ("latency", "latency_ratio", "size", "zipped_size", "peak_memory")
        table = Table("file", *metrics)
        for path in dict.fromkeys(record.stage for record in records):
            cells = {r.metric: human.quantity(r.value, r.unit, r.spread) for r in records if r.stage == path}
            table.add_row(path, *(cells.get(metric, "") for metric in metrics))
        console = Console()
        console.print(table)
        others = Table("file", "", "")
        for record in records:
            if record.metric not in metrics:
                told = human.quantity(record.value, record.unit, record.spread)
                others.add_row(record.stage, label(record.metric), told)
        if others.rows:
            console.print(others)
        console.print(records[0].device, markup=False, highlight=False)
