"""`paring check`: whether a target can run a model, and what matters on a device."""

from typing import Annotated

import typer

from paring.cli.options import Data, Shape, Weights, shapes


def add(app: typer.Typer) -> None:
    """Adds the command."""

    @app.command()
    def check(
        model: Annotated[str, typer.Argument(help="Any model that a recipe can name.")],
        target: Annotated[str | None, typer.Option(help="The runtime; the device's, or litert.")] = None,
        device: Annotated[str | None, typer.Option(help="A device, see paring devices, or a profile's file.")] = None,
        weights: Weights = None,
        data: Data = None,
        shape: Shape = None,
        json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
    ) -> None:
        """Say whether a target or a device can run a model, before any training; all at once. Exits with 1 if not."""
        from dataclasses import asdict
        from json import dumps

        from paring.core.uncollected import uncollected

        with uncollected():
            from paring import api
            from paring.report import human

            found = api.check(model, target, device=device, weights=weights, shape=shapes(shape), data_name=data)
        runs = all(one.severity != "refuses" for one in found)
        if json:
            told = {"model": model, "device": device, "target": target, "runs": runs}
            typer.echo(dumps({**told, "findings": [asdict(one) for one in found]}, indent=1, ensure_ascii=False))
        else:
            for one in found:
                typer.echo(human.printable((f"{one.severity:8}" if device else "") + str(one)))
            if runs:
                typer.echo(f"{device or target or 'litert'} can run {model}")
        if not runs:
            raise typer.Exit(1)
