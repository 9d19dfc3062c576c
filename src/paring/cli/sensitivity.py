"""`paring sensitivity`: how much each layer can lose."""

from pathlib import Path
from typing import Annotated

import typer

from paring.cli.options import Weights


def add(app: typer.Typer) -> None:
    """Adds the command."""

    @app.command()
    def sensitivity(
        model: Annotated[str, typer.Argument(help="Any model that a recipe can name.")],
        data: Annotated[str, typer.Option(help="e.g. fashion-mnist, images:FOLDER.")],
        weights: Weights = None,
        by: Annotated[str, typer.Option(help="What is pruned: channels or weights.")] = "channels",
        ratios: Annotated[str, typer.Option(help="Shares to prune.")] = "0.25,0.5,0.75,0.9",
        samples: Annotated[int, typer.Option(help="Of the validation split.", min=1)] = 1000,
        out: Annotated[Path | None, typer.Option(help="Folder of the results; runs/sensitivity-… else.")] = None,
        json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
    ) -> None:
        """Show the accuracy that is left where one layer alone is pruned. Killed, it goes on from where it was."""
        from json import dumps

        from rich.console import Console
        from rich.table import Table

        from paring import api
        from paring.cli.show import Shown
        from paring.core.errors import ParingError
        from paring.report import human

        try:
            shares = tuple(float(one) for one in ratios.split(","))
        except ValueError as error:
            raise ParingError(f"{ratios!r} is no list of numbers", "--ratios", "e.g. --ratios 0.25,0.5") from error
        folder = out or api.sensitivity_folder(model, by)
        found = api.sensitivity(
            model, data, weights=weights, by=by, ratios=shares, samples=samples, out=folder, progress=Shown()
        )
        if json:
            typer.echo(dumps(found.as_json(), indent=1, ensure_ascii=False))
            return
        console = Console()
        for fact in found.facts:
            console.print(human.printable(fact), markup=False, highlight=False, soft_wrap=True)
        table = Table(*found.columns)
        for row in found.rows:
            table.add_row(*map(human.printable, row))
        console.print(table)
        console.print(f"{folder / 'sensitivity.json'} and .html", markup=False, highlight=False, soft_wrap=True)
