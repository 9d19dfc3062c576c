"""`paring check`: whether a target can run a model."""

from typing import Annotated

import typer

from paring.cli.options import Data, Shape, Weights, shapes


def add(app: typer.Typer) -> None:
    """Adds the command."""

    @app.command()
    def check(
        model: Annotated[str, typer.Argument(help="Any model that a recipe can name.")],
        target: Annotated[str, typer.Option(help="The runtime.")] = "litert",
        weights: Weights = None,
        data: Data = None,
        shape: Shape = None,
    ) -> None:
        """Say whether a target can run a model, before any training; every problem at once. Exits with 1 if not.

        Layers that it runs, but not where it is fast, are told too.
        """
        from paring import api

        problems = api.check(model, target, weights=weights, shape=shapes(shape), data_name=data)
        for problem in problems:
            typer.echo(str(problem))
        if any(problem.blocks for problem in problems):
            raise typer.Exit(1)
        typer.echo(f"{target} can run {model}")
