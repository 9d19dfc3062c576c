"""`paring evaluate`: accuracy of an artifact in its runtime."""

from pathlib import Path
from typing import Annotated

import typer

from paring.cli.options import Threads


def add(app: typer.Typer) -> None:
    """Adds the command."""

    @app.command()
    def evaluate(
        artifact: Annotated[Path, typer.Argument(help="An exported file.")],
        data: Annotated[str, typer.Option(help="e.g. fashion-mnist, images:FOLDER.")],
        split: Annotated[str, typer.Option(help="train, validation, calibration or test.")] = "test",
        threads: Threads = 1,
        limit: Annotated[int | None, typer.Option(help="Use only the first so many samples.", min=1)] = None,
    ) -> None:
        """Measure the accuracy of an exported file in its runtime."""
        from paring import api
        from paring.cli.show import Shown
        from paring.core.errors import UnknownName
        from paring.core.task import SPLITS
        from paring.report import human

        if split not in SPLITS:
            raise UnknownName.of("split", split, SPLITS)
        for record in api.evaluate(artifact, data, split=split, threads=threads, limit=limit, progress=Shown()):
            value = human.quantity(record.value, record.unit, record.spread)
            typer.echo(f"{record.metric}: {value} on {record.samples} {split} samples · {record.device}")
