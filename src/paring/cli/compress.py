"""`paring compress`: parse, call api.compress, print."""

from pathlib import Path
from typing import Annotated

import typer

from paring.cli.options import BenchmarkModel, Cores, DevicePython, Identity, KnownHosts, On, cores


def add(app: typer.Typer) -> None:
    """Adds the command."""

    @app.command()
    def compress(
        recipe: Annotated[str, typer.Argument(help="A recipe in YAML, or one of those that `paring recipes` lists.")],
        model: Annotated[str | None, typer.Option(help="Instead of the recipe's, and of its weights.")] = None,
        data: Annotated[str | None, typer.Option(help="Instead of the recipe's.")] = None,
        weights: Annotated[Path | None, typer.Option(help="Instead of the recipe's.")] = None,
        device: Annotated[str | None, typer.Option(help="Instead of the recipe's.")] = None,
        out: Annotated[
            Path | None, typer.Option(help="Run directory; runs/ and the recipe's name if left out.")
        ] = None,
        seed: Annotated[int | None, typer.Option(help="Instead of the recipe's.", min=0)] = None,
        on: On = None,
        identity: Identity = None,
        known_hosts: KnownHosts = None,
        python: DevicePython = "",
        on_cores: Cores = "",
        benchmark_model: BenchmarkModel = "",
    ) -> None:
        """Run a recipe: load, check, steps, export, measure, report.

        Finished steps are kept in the run directory; the same command goes on where it was stopped. With --on, latency
        and peak memory are measured on that device, and budgets judged by them. Exits with 1 if a requirement of the
        recipe is not met: the result is there all the same.
        """
        from rich.console import Console

        from paring import api, report
        from paring.cli.show import Shown
        from paring.devices.reach import Options

        reached = Options(identity, known_hosts, python, cores(on_cores), benchmark_model)
        result = api.compress(
            recipe, model=model, data=data, weights=weights, device=device, out=out, seed=seed,
            on=on or ("local" if reached != Options() else None), reached=reached, progress=Shown(),
        )  # fmt: skip
        console = Console()
        console.print(report.table(result.report))
        for target, path in result.artifacts.items():
            console.print(f"{target}: {path}", markup=False, highlight=False, soft_wrap=True)
        console.print(f"report: {result.path / 'report.html'}", markup=False, highlight=False, soft_wrap=True)
        if not result.met:
            raise typer.Exit(1)
