"""Options that several commands take."""

from typing import Annotated

import typer

from paring.core.errors import ParingError

Data = Annotated[str | None, typer.Option(help="What the model is for, e.g. fashion-mnist, images:FOLDER.")]
Shape = Annotated[str | None, typer.Option(help="Of one sample, where no data is named: 3,224,224.")]
Threads = Annotated[int, typer.Option(help="That the runtime may use.", min=1)]


def sizes(text: str | None) -> tuple[int, ...] | None:
    """`3,224,224` as numbers; raises ParingError for anything else."""
    if text is None:
        return None
    try:
        found = tuple(int(part) for part in text.replace("x", ",").split(","))
    except ValueError:
        found = ()
    if not found or min(found) < 1:
        raise ParingError(f"{text!r} is not a shape", "--shape", "write the sizes of one sample, e.g. 3,224,224")
    return found
