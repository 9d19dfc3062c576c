"""One table with a plot above it, as an HTML page that opens offline."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from paring.core import atomic
from paring.core.errors import MissingExtra
from paring.core.model import Json
from paring.core.step import Progress


@dataclass(frozen=True, slots=True)
class Bars:
    """A bar for each row.

    Attributes:
        title: of the plot.
        unit: of the values, as the axis says.
        values: series -> one value for each label; NaN for none.
        labels: of the bars.
    """

    title: str
    unit: str
    values: dict[str, Sequence[float]]
    labels: Sequence[str]


@dataclass(frozen=True, slots=True)
class Sheet:
    """What the page shows.

    Attributes:
        title: its headline.
        facts: lines under it.
        columns: of the table.
        rows: likewise, as text.
        bars: the plot.
    """

    title: str
    facts: Sequence[str]
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    bars: Bars


def write_findings(folder: Path, name: str, data: Json, sheet: Sheet, progress: Progress) -> None:
    """Writes `NAME.json` and, where Plotly is installed, `NAME.html`."""
    with atomic.write(folder / f"{name}.json") as draft:
        draft.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    try:
        write_sheet(sheet, folder / f"{name}.html")
    except MissingExtra as error:
        progress.note(f"no {name}.html: {error}")


def write_sheet(sheet: Sheet, path: Path) -> Path:
    """Writes the page.

    Raises:
        MissingExtra: Plotly is not installed.
        ParingError: the file system refuses.
    """
    try:
        import plotly.graph_objects as go
        from plotly.offline import get_plotlyjs
    except ModuleNotFoundError as error:
        raise MissingExtra.of("plotly", "report", path.name) from error
    figure = go.Figure()
    for name, values in sheet.bars.values.items():
        figure.add_bar(x=list(sheet.bars.labels), y=[None if isnan(one) else one for one in values], name=name)
    figure.update_layout(
        title_text=sheet.bars.title,
        yaxis={"title": {"text": sheet.bars.unit}},
        xaxis={"title": {"text": ""}},
        showlegend=len(sheet.bars.values) > 1,
        template="none",
    )
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    plots: list[Any] = [figure.to_plotly_json()]
    page = environment.get_template("sheet.html").render(
        sheet=sheet,
        plots=plots,
        plotly=Markup(get_plotlyjs()),  # noqa: S704 - Plotly's own code, nothing of the user's
    )
    with atomic.write(path) as draft:
        draft.write_text(page, encoding="utf-8", errors="replace", newline="\n")
    return path
