"""`paring bundle`: the folder that an app developer is handed."""

from pathlib import Path
from typing import Annotated

import typer


def add(app: typer.Typer) -> None:
    """Adds the command."""

    @app.command()
    def bundle(
        run: Annotated[Path, typer.Argument(help="A run directory that `paring compress` finished.")],
        platform: Annotated[str, typer.Option(help="android, ios, linux or python.")],
        out: Annotated[
            Path | None, typer.Option(help="The bundle; RUN/bundles/ and the platform's name if left out.")
        ] = None,
    ) -> None:
        """Write a bundle: artifacts, labels, preprocessing, code, golden samples, recipe, report, manifest."""
        from paring import api
        from paring.cli.show import Shown

        found = api.bundle(run, platform, out, progress=Shown())
        typer.echo(f"bundle: {found}")
