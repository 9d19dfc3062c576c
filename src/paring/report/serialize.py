"""`report.json`: written, and read back. `schema.json` beside this file is its JSON Schema."""

import json
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from paring.core import atomic
from paring.core.errors import ParingError
from paring.report.document import Report

SCHEMA = "paring.report/1"


def write_json(report: Report, path: Path) -> Path:
    """Writes `report.json`.

    Raises:
        ParingError: the file system refuses.
    """
    document = {"schema": SCHEMA, **report.as_json()}
    with atomic.write(path) as draft:
        draft.write_text(json.dumps(document, indent=1, allow_nan=False) + "\n", encoding="utf-8", newline="\n")
    return path


def read_json(path: Path) -> Report:
    """The report that `write_json` wrote. Keys that this version does not know are left out.

    Raises:
        ParingError: the file is missing, damaged, no report, or of another version of the schema.
    """
    where, again = str(path), "write it again with the paring that made it, or run the recipe again"
    try:
        document = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ParingError(f"cannot be read: {error.strerror}", where, "check the path") from error
    except (ValueError, RecursionError) as error:  # broken JSON, broken UTF-8, endless nesting
        raise ParingError(f"is not JSON: {error}", where, again) from error
    schema = document.get("schema") if isinstance(document, dict) else None
    if not isinstance(schema, str) or not schema.startswith("paring.report/"):
        raise ParingError("is not a report of paring", where, "give the report.json of a run directory")
    if schema != SCHEMA:
        remedy = "use the version of paring that wrote it (its key `paring`)"
        raise ParingError(f"has schema {schema!r}, this paring reads {SCHEMA!r}", where, remedy)
    try:
        return TypeAdapter(Report).validate_json(json.dumps(document), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the document"
        raise ParingError(f"{place}: {first['msg']}", where, again) from error
