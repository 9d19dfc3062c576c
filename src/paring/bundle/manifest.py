"""`manifest.json` and `golden.json`: what a bundle holds, as data. Same input, same bytes: no date is in them."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from paring.core.errors import ParingError
from paring.core.model import Json
from paring.targets.feeding import End

SCHEMA = "paring.bundle/1"
NAME = "manifest.json"


class Part(BaseModel):
    """What every part of the manifest is: read as written, nothing unknown in it."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class FileEntry(Part):
    """One file.

    Attributes:
        path: relative to the bundle, with `/`.
        size: bytes.
        sha256: hex digest.
    """

    path: str
    size: int
    sha256: str


class FileEnd(Part):
    """An input or an output as an artifact's file holds it.

    Attributes:
        name: as the model calls it.
        shape: of one sample, with a batch of one in front.
        dtype: numpy's name.
        scale: of integers that stand for float values: value = scale × (integer − zero point); 0 where values are
            stored as they are.
        zero_point: likewise.
        channels_last: whether the file takes an image with its channels last, which the model takes with them first.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: float = 0.0
    zero_point: int = 0
    channels_last: bool = False

    @classmethod
    def of(cls, name: str, end: End, shape: Sequence[int]) -> "FileEnd":
        """What a runner knows of an end, for samples whose shape in the model is `shape`."""
        if end.channels_last:
            batch, channels, *sides = shape
            shape = (batch, *sides, channels)
        return cls(
            name=name,
            shape=tuple(shape),
            dtype=end.dtype,
            scale=end.scale,
            zero_point=end.zero_point,
            channels_last=end.channels_last,
        )


class Tolerance(Part):
    """How far an output may be from what is expected, in the output's own unit.

    Attributes:
        same: where the kernels are those that gave the expected outputs: the artifact's `runtime` on `processor`.
        elsewhere: on any other processor, or in another version of the runtime.
        processor: name and instructions.
        why: in words.
    """

    same: float
    elsewhere: float
    processor: str
    why: str


class Artifact(Part):
    """One file for one runtime.

    Attributes:
        target: as in a recipe.
        path: relative to the bundle; a folder for some targets.
        runtime: that gave the expected outputs, name and version; empty where nothing here can run the file.
        inputs: of the file.
        outputs: of the file.
        expected: output -> where its expected values lie, float32.
        tolerance: of each output.
    """

    target: str
    path: str
    runtime: str
    inputs: tuple[FileEnd, ...]
    outputs: tuple[FileEnd, ...]
    expected: dict[str, str]
    tolerance: dict[str, Tolerance]


class GoldenInput(Part):
    """Golden samples of one input, raw little-endian, in the model's own layout.

    Attributes:
        name: as the model calls it.
        path: relative to the bundle.
        dtype: numpy's name.
        shape: samples first.
    """

    name: str
    path: str
    dtype: str
    shape: tuple[int, ...]


class Golden(Part):
    """Golden samples, the first of the test split.

    Attributes:
        samples: how many.
        inputs: of the model.
        raw: the images before preprocessing, (sample, row, column, channel), uint8; None where they are not at hand.
        original: output -> answers of the model that the run began with, float32: for information.
        shapes: output -> its shape, samples first.
        targets: class of each sample, as the data have it.
    """

    samples: int
    inputs: tuple[GoldenInput, ...]
    raw: GoldenInput | None
    original: dict[str, str]
    shapes: dict[str, tuple[int, ...]]
    targets: tuple[int, ...]


class Licence(Part):
    """What a part of the bundle may be used for.

    Attributes:
        of: which part.
        licence: SPDX expression or name; `unknown` where nothing here tells.
        source: who says so, or who can.
    """

    of: str
    licence: str
    source: str


class Manifest(Part):
    """`manifest.json`.

    Attributes:
        schema_version: `paring.bundle/1`; `schema` in the file.
        digest: SHA-256 of everything else in the manifest.
        name: of the run.
        platform: that the bundle is for.
        paring: version that wrote it.
        libraries: versions that the run was made with.
        model: as the recipe names it.
        data: likewise.
        labels: number of classes; 0 where the task has none.
        artifacts: files for runtimes.
        golden: where `golden.json` lies.
        notes: what the bundle lacks, and why.
        licences: of what it was made from.
        files: every other file.
    """

    schema_version: str
    digest: str
    name: str
    platform: str
    paring: str
    libraries: dict[str, str]
    model: str
    data: str
    labels: int
    artifacts: tuple[Artifact, ...]
    golden: str
    notes: tuple[str, ...]
    licences: tuple[Licence, ...]
    files: tuple[FileEntry, ...]

    def sealed(self) -> "Manifest":
        """The manifest with its digest."""
        return self.model_copy(update={"digest": _digest(self)})


def dump(part: BaseModel) -> str:
    """As text: the same part, the same text."""
    return json.dumps(part.model_dump(mode="json"), indent=1, ensure_ascii=False) + "\n"


def read(bundle: Path) -> Manifest:
    """The manifest of a bundle.

    Raises:
        ParingError: the folder is no bundle, or one of another version; its manifest was changed.
    """
    path = bundle / NAME
    data = read_json(path, "name the folder that `paring bundle` wrote")
    schema = data.get("schema_version") if isinstance(data, dict) else None
    if not isinstance(schema, str) or not schema.startswith("paring.bundle/"):
        raise ParingError("is not the manifest of a bundle", str(path), "name the folder that `paring bundle` wrote")
    if schema != SCHEMA:
        remedy = f"use the version of paring that wrote it ({data.get('paring')}), or write it again with this one"
        raise ParingError(f"has schema {schema!r}, this paring reads {SCHEMA!r}", str(path), remedy)
    found = validated(Manifest, data, path)
    if found.digest != _digest(found):
        raise ParingError(
            "was changed after the bundle was written", str(path), "take the bundle from its source again"
        )
    return found


P = TypeVar("P", bound=Part)


def validated(kind: type[P], data: Json, path: Path) -> P:
    """A part from JSON values.

    Raises:
        ParingError: it lacks something, or holds something else.
    """
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the document"
        raise ParingError(f"{place}: {first['msg']}", str(path), "take the bundle from its source again") from error


def read_json(path: Path, remedy: str) -> Json:
    """A JSON file.

    Raises:
        ParingError: there is none, or it is damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ParingError(f"cannot be read: {error.strerror}", str(path), remedy) from error
    except (ValueError, RecursionError) as error:
        raise ParingError(f"is not JSON: {error}", str(path), remedy) from error


def _digest(manifest: Manifest) -> str:
    return hashlib.sha256(dump(manifest.model_copy(update={"digest": ""})).encode()).hexdigest()
