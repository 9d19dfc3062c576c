"""The command line: one file per command; each parses, calls one function of the API, and prints."""

import sys

import typer

from paring.cli import (
    bench,
    bundle,
    check,
    compress,
    devices,
    diagnose,
    doctor,
    evaluate,
    inspect,
    prepare,
    recipes,
    report,
    sensitivity,
    steps,
    train,
    verify,
)
from paring.core.errors import ParingError

app = typer.Typer(
    name="paring",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    help="Pare a trained network down until it fits the device, and prove that it does.",
)
for command in (
    compress,
    recipes,
    steps,
    train,
    devices,
    check,
    inspect,
    evaluate,
    diagnose,
    sensitivity,
    bench,
    prepare,
    bundle,
    verify,
    report,
    doctor,
):
    command.add(app)


def main() -> None:
    """The entry point `paring`. Exits with 2 on an error that the user can mend, 130 when interrupted."""
    try:
        app()
    except ParingError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=sys.stderr)
        sys.exit(130)
