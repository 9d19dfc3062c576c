"""`paring recipes`: the recipes that come with paring."""

from typing import Annotated

import typer


def add(app: typer.Typer) -> None:
    """Adds the command."""

    @app.command()
    def recipes(
        name: Annotated[str, typer.Argument(help="Of one recipe: its YAML, to copy and change.")] = "",
    ) -> None:
        """List the recipes to begin with; of one its YAML: paring recipes small > mine.yaml."""
        from paring import api

        if name:
            typer.echo(api.recipe(name), nl=False)
            return
        found = api.recipes()
        width = max(map(len, found))
        for one, told in found.items():
            typer.echo(f"{one:<{width}}  {told}")
