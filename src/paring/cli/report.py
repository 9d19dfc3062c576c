"""`paring report`: a finished run again."""

from pathlib import Path
from typing import Annotated

import typer


def add(app: typer.Typer) -> None:
    """Adds the command."""

    @app.command()
    def report(
        run: Annotated[Path, typer.Argument(help="A run directory, or its report.json.")],
        html: Annotated[Path | None, typer.Option(help="Write the page there too.")] = None,
    ) -> None:
        """Show the report of a finished run."""
        from rich.console import Console

        from paring import report as reports

        path = run / "report.json" if run.is_dir() else run
        found = reports.read_json(path)
        Console().print(reports.table(found))
        if html is not None:
            reports.write_html(found, html)
            typer.echo(f"report: {html}")
