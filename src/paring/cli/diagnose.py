"""`paring diagnose`: why a quantized file answers otherwise than the float model."""

from pathlib import Path
from typing import Annotated

import typer


def add(app: typer.Typer) -> None:
    """Adds the command."""

    @app.command()
    def diagnose(
        run: Annotated[Path, typer.Argument(help="A run directory, e.g. runs/NAME.")],
        target: Annotated[str | None, typer.Option(help="Whose file, where the run has several.")] = None,
        samples: Annotated[int, typer.Option(help="Of the validation split.", min=1)] = 64,
        json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
    ) -> None:
        """Compare float and exported file layer by layer: what each layer loses, why, and what to try."""
        from json import dumps

        from rich.console import Console
        from rich.table import Table

        from paring import api
        from paring.cli.show import Shown
        from paring.diagnosis import COLUMNS
        from paring.report import human

        found = api.diagnose(run, target=target, samples=samples, progress=Shown())
        if json:
            typer.echo(dumps(found.as_json(), indent=1, ensure_ascii=False))
            return
        console = Console()
        for fact in found.facts:
            console.print(human.printable(fact), markup=False, highlight=False, soft_wrap=True)
        table = Table(*COLUMNS)
        for row in found.rows:
            table.add_row(*map(human.printable, row))
        console.print(table)
        console.print(f"{run / 'diagnosis.json'} and .html", markup=False, highlight=False, soft_wrap=True)
