"""The integration code: templates, filled with what a model takes and gives. What comes out empty is not written."""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from paring.bundle.manifest import Artifact, Golden
from paring.bundle.platforms import Platform
from paring.bundle.preprocessing import Normalized, kind
from paring.core.task import Task

_TEMPLATES = Path(__file__).parent / "templates"


def write(
    folder: Path,
    platform: Platform,
    name: str,
    task: Task,
    artifacts: Sequence[Artifact],
    golden: Golden,
    golden_path: str,
    notes: Sequence[str],
) -> None:
    """Writes the platform's project, and the bundle's README."""
    what = kind(task)
    context: dict[str, Any] = {
        "platform": platform,
        "name": name,
        "slug": slug(name),
        "camel": "".join(part.capitalize() for part in slug(name).split("_") if part),
        "artifacts": {one.target: one for one in artifacts},
        "labels": task.labels,
        "kind": what,
        "steps": dict(task.preprocessing),
        "golden": golden,
        "golden_path": golden_path,
        "notes": notes,
        "has_page": (folder / "report.html").exists(),
    }
    if what == "image":
        normalized = Normalized.of(task)
        height, width = task.preprocessing["size"]
        context |= {"height": height, "width": width, "factor": normalized.factor.tolist()}
        context["offset"] = normalized.offset.tolist()
    environment = Environment(  # noqa: S701 - source code, not HTML
        loader=FileSystemLoader(_TEMPLATES),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"f32": _f32, "in_golden": lambda path: path.removeprefix(f"{platform.golden}/")}
    environment.filters |= {language: _literal(rule) for language, rule in _ESCAPES.items()}
    root = _TEMPLATES / platform.name
    for template in (_TEMPLATES / "README.md.j2", *sorted(root.rglob("*.j2"))):
        text = environment.get_template(template.relative_to(_TEMPLATES).as_posix()).render(context)
        if text.strip():
            relative = template.relative_to(root if template.is_relative_to(root) else _TEMPLATES).with_suffix("")
            where = str(relative).replace("__slug__", context["slug"]).replace("__camel__", context["camel"])
            path = folder / where
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text.strip("\n") + "\n", encoding="utf-8", newline="\n")


def slug(name: str) -> str:
    """The run's name as an identifier that is nothing else in any language: `demo-2` becomes `pared_demo_2`."""
    return f"pared_{re.sub(r'[^a-z0-9]+', '_', name.lower())}".rstrip("_")


def _f32(value: float) -> str:
    """The shortest decimal that reads back to the same float32, with a point or an exponent in it."""
    return str(np.float32(value))


_ESCAPES: Mapping[str, Callable[[int], str]] = {
    "cpp": lambda code: f"\\{code:03o}",
    "kotlin": lambda code: f"\\u{code:04x}",
    "swift": lambda code: f"\\u{{{code:x}}}",
}


def _literal(control: Callable[[int], str]) -> Callable[[str], str]:
    """A filter that writes a text as a language's literal."""

    def literal(text: str) -> str:
        dollar = control(ord("$")) if control is _ESCAPES["kotlin"] else "$"
        special = {"\\": "\\\\", '"': '\\"', "$": dollar}
        inside = "".join(special.get(c) or (control(ord(c)) if ord(c) < ord(" ") else c) for c in text)
        return f'"{inside}"'

    return literal
