"""`paring devices`: the devices that recipes and checks can name."""

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from paring.core.device import Device


def add(app: typer.Typer) -> None:
    """Adds the command."""

    @app.command()
    def devices(
        name: Annotated[str, typer.Argument(help="Of one device, or the file of a profile; all where left out.")] = "",
        json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
    ) -> None:
        """List the device profiles; of one its figures, and where each comes from."""
        from json import dumps

        from paring import api

        found, broken = api.devices(name)
        if json:
            typer.echo(dumps([one.model_dump(mode="json") for one in found], indent=1, ensure_ascii=False))
        elif name:
            _one(found[0])
        else:
            for device in found:
                typer.echo(f"{device.name:28}{device.description}")
        for error in broken:
            typer.echo(f"error: {error}", err=True)


def _one(device: "Device") -> None:
    from paring import api

    typer.echo(f"{device.name}: {device.description}")
    if told := api.replaced(device.name):
        typer.echo(told)
    targets = (f"{one.name} {one.options}" if one.options else one.name for one in device.targets)
    typer.echo(f"targets: {', '.join(targets)}; threads: {device.threads}")
    typer.echo(f"reached: {device.reach}")
    for figure in device.figures:
        typer.echo(f"{figure}: {device.told(figure)}")
        for source in device.sources_of(figure):
            typer.echo(f"    {source}")
        if not device.sources_of(figure):
            typer.echo("    no source is named")
