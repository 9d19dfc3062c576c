"""`paring inspect`: what a model or an exported file is made of."""

from typing import TYPE_CHECKING, Annotated

import typer

from paring.cli.options import Data, Shape, Weights, shapes

if TYPE_CHECKING:
    from rich.console import Console

    from paring.inspection import ArtifactInspection, Inspection


def add(app: typer.Typer) -> None:
    """Adds the command."""

    @app.command()
    def inspect(
        model: Annotated[str, typer.Argument(help="Any model that a recipe can name, or an exported file.")],
        weights: Weights = None,
        data: Data = None,
        shape: Shape = None,
        json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
    ) -> None:
        """Show layers, parameters, MACs and sizes, what techniques can act on, and what targets refuse."""
        from json import dumps

        from rich.console import Console

        from paring import api
        from paring.inspection import Inspection

        found = api.inspect(model, weights=weights, shape=shapes(shape), data_name=data)
        if json:
            typer.echo(dumps(found.as_json(), indent=1, ensure_ascii=False))
            return
        console = Console()
        if isinstance(found, Inspection):
            _model(found, console)
        else:
            _artifact(found, console)


def _model(found: "Inspection", console: "Console") -> None:
    from rich.table import Table

    from paring.report import human

    model = found.model
    _say(console, str(model.source))
    _ends(found.model, console)
    for event in model.history:
        _say(console, f"{event.step}: {event.changed}")
    table = Table("layer", "kind", "output")
    table.add_column("parameters", justify="right")
    table.add_column("MACs", justify="right")
    for layer in found.layers:
        shape = "×".join(str(size) for size in layer.output)
        table.add_row(layer.name, layer.kind, shape, human.count(layer.parameters), human.count(layer.macs))
    table.add_section()
    table.add_row("all", "", "", human.count(found.parameters), human.count(found.macs))
    console.print(table)
    _say(console, "weights: " + ", ".join(f"{human.size(size)} in {kind}" for kind, size in found.sizes.items()))
    for name, technique in found.techniques.items():
        if technique.problem:
            _say(console, f"{name}: {technique.problem}")
            continue
        _say(console, f"{name}: acts on {len(technique.acts_on)} layers, leaves {len(technique.leaves)}")
        for one in technique.leaves:
            _say(console, f"  {one.layer}: {one.reason}")
    for name, verdict in found.targets.items():
        blocking = sum(problem.severity == "refuses" for problem in verdict.problems)
        runs = "can run it, but not all where it is fast" if verdict.problems else "can run it"
        answer = verdict.problem or (f"refuses it, {blocking} problems" if blocking else runs)
        _say(console, f"{name}: {answer}")
        for problem in verdict.problems:
            _say(console, f"  {problem}")


def _artifact(found: "ArtifactInspection", console: "Console") -> None:
    from rich.table import Table

    from paring.report import human

    _say(console, f"{found.path}: {human.size(found.bytes)}, for {found.target}")
    _ends(found, console)
    operators = sorted(found.contents.operators.items(), key=lambda one: -one[1])
    _say(console, "operators: " + ", ".join(f"{count} {name}" for name, count in operators))
    if found.contents.on_processor:
        left = ", ".join(f"{name} ({tensor})" for name, tensor in found.contents.on_processor)
        _say(console, f"left to the device's processor: {left}")
    stored = [tensor for tensor in found.contents.tensors if tensor.bytes]
    table = Table("stored tensor", "type", "shape")
    table.add_column("size", justify="right")
    table.add_column("zeros", justify="right")
    for tensor in stored:
        shape, zeros = "×".join(map(str, tensor.shape)), f"{100 * tensor.zeros:.0f} %"
        table.add_row(tensor.name, tensor.dtype, shape, human.size(tensor.bytes), zeros)
    console.print(table)
    for dtype in dict.fromkeys(tensor.dtype for tensor in found.contents.tensors):
        mine = [tensor for tensor in found.contents.tensors if tensor.dtype == dtype]
        _say(console, f"{dtype}: {len(mine)} tensors, {human.size(sum(t.bytes for t in mine))} stored")


def _ends(found: "Inspection | ArtifactInspection | object", console: "Console") -> None:
    for role in ("input", "output"):
        for spec in getattr(found, f"{role}s"):
            _say(console, f"{role} {spec.name}: {spec.dtype} {spec.shape}")


def _say(console: "Console", text: str) -> None:
    from paring.report import human

    console.print(human.printable(text), markup=False, highlight=False, soft_wrap=True)
