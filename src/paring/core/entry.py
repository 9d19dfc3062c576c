"""What a recipe writes on one line: `scheme:rest(option=value, …)`."""

from __future__ import annotations

import ast
import json
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field

from paring.core.errors import ParingError
from paring.core.model import Json

_SCHEME = re.compile(r"([A-Za-z][\w+-]+):(.*)", re.DOTALL)  # two characters at least: `C:\photos` has no scheme
_MEANT_AS_ARGUMENTS = re.compile(r"\(\s*[A-Za-z_]\w*\s*=[^/\\]*$")


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a recipe, in its parts.

    Attributes:
        scheme: what stands before the first colon, e.g. `zoo`; empty without one.
        rest: the name, path or `module:attribute` that follows.
        arguments: the options in parentheses, JSON values.
    """

    scheme: str
    rest: str
    arguments: Mapping[str, Json] = field(default_factory=dict)

    def __str__(self) -> str:
        """The text that parses to this entry."""
        head = f"{self.scheme}:{self.rest}" if self.scheme else self.rest
        inside = ", ".join(f"{key}={value!r}" for key, value in self.arguments.items())
        # Empty parentheses keep a name that itself ends in parentheses from being read as one with options.
        return f"{head}({inside})" if inside or head.endswith(")") else head


def parse(text: str) -> Entry:
    r"""Takes a line apart. Nothing in it is executed: options are Python literals.

    Only a last pair of parentheses that is empty or holds `name=value` counts as options, so `images:photos (1)` is
    a folder. A path that ends like options is written with an empty pair behind it: `images:photos(a=1)()`.

    Args:
        text: e.g. `zoo:mobilenet_v2(width=0.5)`, `fashion-mnist`, `images:C:\photos(size=96)`.

    Raises:
        ParingError: the text is empty, or its options are not written as `name=literal`.
    """
    head, arguments = _split_arguments(text.strip())
    match = _SCHEME.fullmatch(head)
    scheme, rest = (match[1], match[2]) if match else ("", head)
    if not rest.strip():
        raise ParingError("is empty", repr(text), "write a name, or scheme:name, e.g. zoo:mobilenet_v2(width=0.5)")
    return Entry(scheme, rest.strip(), arguments)


def _split_arguments(text: str) -> tuple[str, dict[str, Json]]:
    if text.endswith(")"):
        for start in (match.start() for match in re.finditer(r"\(", text)):
            call = _call(text[start:])
            if call is not None:
                return text[:start], _values(call, text)
    if _MEANT_AS_ARGUMENTS.search(text):
        raise _bad_options(text, "the options in parentheses cannot be read")
    return text, {}


def _call(parentheses: str) -> ast.Call | None:
    """`(a=1, b=2)` as a call of one function by keywords, or None where it is not that."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a doubtful escape in a path is no business of ours
            call = ast.parse("_" + parentheses, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    whole = isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and not call.args
    return call if whole and isinstance(call, ast.Call) else None


def _values(call: ast.Call, text: str) -> dict[str, Json]:
    values: dict[str, Json] = {}
    for keyword in call.keywords:
        if keyword.arg is None or keyword.arg in values:
            raise _bad_options(text, "an option stands twice, or has no name")
        try:
            # Through JSON and back: a recipe must be able to carry every value, and (1, 2) equals [1, 2] there.
            values[keyword.arg] = json.loads(json.dumps(ast.literal_eval(keyword.value), allow_nan=False))
        except (ValueError, TypeError, RecursionError, MemoryError):
            raise _bad_options(text, f"the value of {keyword.arg!r} is not plain data") from None
    return values


def _bad_options(text: str, problem: str) -> ParingError:
    remedy = "write options as name=value with plain values, e.g. (width=0.5, pretrained=False, size=[96, 96])"
    return ParingError(problem, repr(text), f"{remedy}; after a path that ends like this, add ()")
