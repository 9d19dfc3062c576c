"""`paring prepare`: what a stand-in for a device needs, made once."""

from typing import Annotated

import typer


def add(app: typer.Typer) -> None:
    """Adds the command."""

    @app.command()
    def prepare(what: Annotated[str, typer.Argument(help="emulated-arm64.")]) -> None:
        """Set up what measuring on a stand-in needs: emulated-arm64 downloads some 130 MB, once."""
        from rich.console import Console

        from paring import api
        from paring.cli.show import Shown

        made = api.prepare(what, progress=Shown())
        Console().print(f"{what} is ready: {made}", markup=False, highlight=False, soft_wrap=True)
