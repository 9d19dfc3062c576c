"""`report.html`: one file that opens offline, asks for nothing from anywhere, and reads well on a phone."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from paring.core import atomic
from paring.core.errors import MissingExtra
from paring.core.record import Record
from paring.report import human
from paring.report.document import Report, Stage, is_guess, is_slower, on_device
from paring.report.metrics import METRICS, label
from paring.report.plots import colour, figures, shown


def write_html(report: Report, path: Path) -> Path:
    """Writes `report.html`.

    Raises:
        MissingExtra: Plotly is not installed.
        ParingError: the file system refuses.
    """
    try:
        from plotly.offline import get_plotlyjs
    except ModuleNotFoundError as error:
        raise MissingExtra.of("plotly", "report", "report.html") from error
    plots = figures(report)
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"yaml": _yaml, "label": label}
    stages = [(colour(index), stage) for index, stage in enumerate(report.stages)]
    page = environment.get_template("page.html").render(
        report=report,
        stages=stages,
        cards=list(_cards(report)),
        flow=_flow(stages),
        metrics=_metrics(report),
        meanings=METRICS,
        devices=list(dict.fromkeys(record.device for record in report.records if on_device(record))),
        guesses=any(map(is_guess, report.records)),
        plots=plots,
        legend=[(colour, stage) for colour, stage in stages if shown(report, stage)],
        plotly=Markup(get_plotlyjs()) if plots else "",  # noqa: S704 - Plotly's own code, nothing of the user's
        human=human,
        is_guess=is_guess,
        is_slower=is_slower,
        on_device=on_device,
    )
    with atomic.write(path) as draft:
        # What UTF-8 cannot hold (half a character in a file name) becomes "?": no report is lost over it.
        draft.write_text(page, encoding="utf-8", errors="replace", newline="\n")
    return path


@dataclass(frozen=True, slots=True)
class Card:
    """A headline: what it is on, the figure, and what stands behind it."""

    label: str
    figure: str
    detail: str
    bad: bool = False


def _cards(report: Report) -> Iterator[Card]:
    """How the result compares with the baseline."""
    if report.result is None:
        return
    accuracy = next(iter(report.find(report.result.name, "accuracy")), None)
    if accuracy:
        before = _beside(accuracy, report)
        margin = human.parts(accuracy.value, accuracy.unit, accuracy.spread)[1]
        detail = (f"{_short(before)} before" if before else "", f"±\N{NO-BREAK SPACE}{margin}" if margin else "")
        yield Card("accuracy", _short(accuracy), " · ".join(filter(None, detail)))
    for metric, less, more in (
        ("size", "smaller", "larger"),
        ("zipped_size", "smaller", "larger"),
        ("latency", "faster", "slower"),
        ("peak_memory", "less", "more"),
    ):
        after = next(iter(report.find(report.result.name, metric)), None)
        if after is None:
            continue
        before = _beside(after, report)
        if before is None or not before.value or not after.value:
            yield Card(label(metric), _short(after), "")
            continue
        ratio = after.value / before.value
        if metric == "latency":  # timed in turns with the baseline, so fairer than two medians
            same = (r.value for r in report.find(report.result.name, "latency_ratio") if r.device == after.device)
            ratio = next(same, 0.0) or ratio
        times, word = (1 / ratio, less) if ratio <= 1 else (ratio, more)
        figure = "unchanged" if f"{times:.2f}" == "1.00" else f"{times:.3g}× {word}"
        yield Card(label(metric), figure, f"{_short(before)} → {_short(after)}", bad=figure.endswith(more))


def _beside(after: Record, report: Report) -> Record | None:
    """The baseline's record to hold against this one: from the same device if there is one."""
    candidates = report.find("baseline", after.metric)
    return next((record for record in candidates if record.device == after.device), next(iter(candidates), None))


def _short(record: Record) -> str:
    """Value and unit, to the digits that the spread leaves, never on two lines."""
    value, _, unit = human.parts(record.value, record.unit, record.spread)
    return f"{value}\N{NO-BREAK SPACE}{unit}" if unit else value


def _flow(stages: Iterable[tuple[str, Stage]]) -> list[list[tuple[str, Stage]]]:
    """The boxes of the diagram, column by column. Artifacts are made side by side, everything else in turn."""
    columns: list[list[tuple[str, Stage]]] = []
    for exported, run in groupby(stages, key=lambda pair: pair[1].kind == "export"):
        boxes = list(run)
        columns += [boxes] if exported else [[box] for box in boxes]
    return columns


def _metrics(report: Report) -> list[str]:
    """The metrics that any stage has: those known in their usual order, then the others."""
    present = {record.metric for record in report.records}
    return [metric for metric in METRICS if metric in present] + sorted(present - METRICS.keys())


def _yaml(data: Mapping[str, Any]) -> str:
    """Plain data in the form that recipes are written in."""
    return str(yaml.safe_dump(json.loads(json.dumps(data)), sort_keys=False, allow_unicode=True, width=100))
