"""`paring train`: a checkpoint to begin with."""

import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from paring.cli.options import Weights
from paring.core.errors import ParingError


def add(app: typer.Typer) -> None:
    """Adds the command."""

    @app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
    def train(
        context: typer.Context,
        model: Annotated[str, typer.Argument(help="Any model that a recipe can name.")],
        data: Annotated[str, typer.Option(help="e.g. fashion-mnist, images:FOLDER.")],
        out: Annotated[Path, typer.Option(help="The checkpoint: OUT.safetensors and OUT.json.")],
        weights: Weights = None,
        epochs: Annotated[int | None, typer.Option(help="Passes over the training split; 10, hf: 3.", min=1)] = None,
        batch_size: Annotated[int | None, typer.Option(help="Samples in a step; 128, hf: 32.", min=1)] = None,
        learning_rate: Annotated[float | None, typer.Option(help="Peak of the schedule; 0.2, hf: 5e-5.")] = None,
        config: Annotated[list[str] | None, typer.Option(help="Any other training option: KEY=VALUE.")] = None,
        seed: Annotated[int, typer.Option(help="Of all chance.", min=0)] = 0,
    ) -> None:
        """Train a model and save it with its test accuracy.

        Further options go to the model's factory: --width 0.5. Killed and started again it goes on from its last
        checkpoint. A model of transformers (hf:) is fine-tuned with AdamW, all others are trained with SGD.
        """
        from paring import api, load
        from paring.cli.show import Shown
        from paring.report import human
        from paring.train.config import FINE_TUNING, FROM_SCRATCH

        arguments = _options(context.args)
        if arguments:
            model = f"{model}({', '.join(f'{key}={value!r}' for key, value in arguments.items())})"
        given = {"epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate}
        options: dict[str, Any] = {
            **(FINE_TUNING if load.made_by(model) == "hf" else FROM_SCRATCH),
            **{name: value for name, value in given.items() if value is not None},
            **dict(_pair(text) for text in config or []),
        }
        options.setdefault("nesterov", options.get("optimizer", "sgd") == "sgd")
        said = shlex.join(["paring", *sys.argv[1:]])
        record = api.train_model(model, data, out, options, weights=weights, seed=seed, command=said, progress=Shown())
        value = human.quantity(record.value, record.unit, record.spread)
        typer.echo(f"accuracy: {value} on {record.samples} test samples")


def _options(arguments: list[str]) -> dict[str, Any]:
    """`["--width", "0.5"]` -> `{"width": 0.5}`; also `--width=0.5`."""
    found: dict[str, Any] = {}
    rest = list(arguments)
    while rest:
        head = rest.pop(0)
        if not head.startswith("--"):
            raise ParingError(
                f"{head!r} is not an option", "paring train", "write options of the model as --name value"
            )
        name, equals, value = head[2:].partition("=")
        if not equals:
            if not rest:
                raise ParingError(f"--{name} has no value", "paring train", f"write --{name} VALUE")
            value = rest.pop(0)
        found[name.replace("-", "_")] = _value(value)
    return found


def _pair(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals:
        raise ParingError(f"{text!r} is not KEY=VALUE", "paring train: --config", "e.g. --config optimizer=adamw")
    return key, _value(value)


def _value(text: str) -> Any:
    import yaml

    return yaml.safe_load(text)
