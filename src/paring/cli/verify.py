"""`paring verify`: whether a bundle is whole, and answers as it should."""

import json as text
from pathlib import Path
from typing import Annotated

import typer


def add(app: typer.Typer) -> None:
    """Adds the command."""

    @app.command()
    def verify(
        bundle: Annotated[Path, typer.Argument(help="A folder that `paring bundle` wrote.")],
        json: Annotated[bool, typer.Option("--json", help="Print what is found as JSON.")] = False,
    ) -> None:
        """Check every file's hash, then replay the golden samples in the runtimes of this machine.

        Exits with 1 if a file is not as it was written, or an answer is not within its tolerance.
        """
        from paring import api

        found = api.verify(bundle)
        if json:
            typer.echo(text.dumps(found.as_json(), indent=1))
        else:
            for fault in found.faults:
                typer.echo(fault)
            for one in found.replays:
                mark = "-" if not one.runtime else "ok" if one.good else "FAIL"
                said = f"{one.apart:.4g} apart, at most {one.tolerance:.4g} " if one.runtime else ""
                typer.echo(f"{mark} {one.target} {one.output}: {said}({one.note})")
            typer.echo("as it was written" if found.good else "not as it should be")
        if not found.good:
            raise typer.Exit(1)
