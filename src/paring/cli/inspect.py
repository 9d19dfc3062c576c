"""`paring inspect`: what a model is made of."""

from typing import Annotated

import typer

from paring.cli.options import Data, Shape, sizes


def add(app: typer.Typer) -> None:
    """Adds the command."""

    @app.command()
    def inspect(
        model: Annotated[str, typer.Argument(help="zoo:…, torch:package.module:factory, or a saved model.")],
        data: Data = None,
        shape: Shape = None,
    ) -> None:
        """Show a model's layers, parameters, MACs and history."""
        from rich.console import Console
        from rich.table import Table

        from paring import api
        from paring.report import human

        found, layers = api.inspect(model, shape=sizes(shape), data_name=data)
        console = Console()
        console.print(f"{found.source}", markup=False, highlight=False)
        for role, specs in (("input", found.inputs), ("output", found.outputs)):
            for spec in specs:
                console.print(f"{role} {spec.name}: {spec.dtype} {spec.shape}", markup=False, highlight=False)
        for event in found.history:
            console.print(f"{event.step}: {event.changed}", markup=False, highlight=False)
        table = Table("layer", "kind", "output")
        table.add_column("parameters", justify="right")
        table.add_column("MACs", justify="right")
        for layer in layers:
            shape_out = "×".join(str(size) for size in layer.output)
            table.add_row(layer.name, layer.kind, shape_out, human.count(layer.parameters), human.count(layer.macs))
        table.add_section()
        table.add_row(
            "all", "", "", human.count(sum(la.parameters for la in layers)), human.count(sum(la.macs for la in layers))
        )
        console.print(table)
