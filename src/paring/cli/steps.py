"""`paring steps`: what steps there are, and in which order."""

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from paring.catalog import Described


def add(app: typer.Typer) -> None:
    """Adds the command."""

    @app.command()
    def steps(
        name: Annotated[str, typer.Argument(help="Of one step, with its options.")] = "",
        json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
    ) -> None:
        """List every step and the rules of their order; of one step its options, with defaults and units."""
        from json import dumps

        from rich.console import Console

        from paring import api

        found, rules = api.steps(name)
        if json:
            document = {"steps": [one.as_json() for one in found], "order": list(rules), "schema": "paring.steps/1"}
            typer.echo(dumps(document, indent=1, ensure_ascii=False))
            return
        console = Console()
        if name:
            _one(found[0], console)
        else:
            _all(found, console)
        _say(console, "\norder: structure → sparsity → quantization; recovery after any but quantization")
        for rule in rules:
            _say(console, f"  {rule}")


def _all(found: "tuple[Described, ...]", console: "Console") -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table("step", "phase", "what it does", box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for one in found:
        table.add_row(Text(one.name, no_wrap=True), one.phase, Text(one.told or f"not installed: {one.missing}"))
    console.print(table)


def _one(found: "Described", console: "Console") -> None:
    from rich.table import Table
    from rich.text import Text

    _say(console, f"{found.name}: {found.phase or 'not installed'}, of paring[{found.extra or 'all'}]")
    _say(console, found.told or found.missing)
    table = Table("option", "takes", "default", "what it means", box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for one in found.options:
        table.add_row(*(Text(cell) for cell in (one.name, one.kind, one.default or "–", one.told)))
    if found.options:
        console.print()
        console.print(table)


def _say(console: "Console", text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)
