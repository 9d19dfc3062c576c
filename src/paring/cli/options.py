"""Options that several commands take."""

from pathlib import Path
from typing import Annotated

import typer

from paring.core.errors import ParingError
from paring.core.model import TensorSpec

_DTYPES = ("float32", "int64", "int32", "bool")

Data = Annotated[str | None, typer.Option(help="What the model is for, e.g. fashion-mnist, images:FOLDER.")]
Shape = Annotated[
    list[str] | None,
    typer.Option(
        help="Of one sample, where no data is named: 3,224,224; once for each of several inputs: "
        "image=3,224,224, ids=128:int64."
    ),
]
Weights = Annotated[Path | None, typer.Option(help="Safetensors, or a checkpoint of plain weights.")]
On = Annotated[
    str | None, typer.Option(help="local (a fresh process), ssh://user@host:port, adb, adb:SERIAL or emulated-arm64.")
]
Identity = Annotated[Path | None, typer.Option(help="Private key for SSH, instead of the agent's.")]
KnownHosts = Annotated[Path | None, typer.Option(help="Instead of ~/.ssh/known_hosts.")]
DevicePython = Annotated[str, typer.Option(help="Of the device; python3 where it is left out.")]
Cores = Annotated[str, typer.Option("--cores", help="To stay on: 0-3 or 4,5.")]
BenchmarkModel = Annotated[str, typer.Option(help="Path of LiteRT's tool on a device without Python.")]
Threads = Annotated[int, typer.Option(help="That the runtime may use.", min=1)]


def shapes(texts: list[str] | None) -> tuple[int, ...] | tuple[TensorSpec, ...] | None:
    """`3,224,224` as numbers, or `NAME=3,224,224` and `NAME=128:int64` as descriptions of inputs.

    Raises:
        ParingError: it is none of these.
    """
    if not texts:
        return None
    if len(texts) == 1 and "=" not in texts[0]:
        return sizes(texts[0])
    found = []
    for text in texts:
        name, equals, rest = text.partition("=")
        shape, colon, dtype = rest.partition(":")
        if not (equals and name) or (colon and dtype not in _DTYPES):
            raise ParingError(
                f"{text!r} describes no input",
                "--shape",
                f"write NAME=SIZES for each input, and :TYPE behind where it is not float32 ({', '.join(_DTYPES)})",
            )
        found.append(TensorSpec.of(name, sizes(shape), dtype or "float32"))
    return tuple(found)


def cores(text: str) -> tuple[int, ...]:
    """`0-3,6` as numbers; raises ParingError for anything else."""
    found: list[int] = []
    try:
        for part in text.split(",") if text else ():
            first, dash, last = part.partition("-")
            found += range(int(first), int(last if dash else first) + 1)
    except ValueError:
        found = []
    if text and not found:
        raise ParingError(f"{text!r} names no cores", "--cores", "write numbers and ranges: 0-3,6")
    return tuple(found)


def sizes(text: str) -> tuple[int, ...]:
    """`3,224,224` as numbers; raises ParingError for anything else."""
    try:
        found = tuple(int(part) for part in text.replace("x", ",").split(","))
    except ValueError:
        found = ()
    if not found or min(found) < 1:
        raise ParingError(f"{text!r} is not a shape", "--shape", "write the sizes of one sample, e.g. 3,224,224")
    return found
