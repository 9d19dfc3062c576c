"""What the plots of `report.html` show: accuracy against size, and against latency."""

from collections.abc import Iterator
from html import escape
from typing import Any

from paring.core.record import Record
from paring.report.document import Report, Stage, on_device
from paring.report.human import quantity
from paring.report.metrics import label

# Mid tones that stand out from white and from black; the marker differs too, for who cannot tell the colours apart.
COLOURS = ("#7a8290", "#3b82c4", "#e0862f", "#3a9d6e", "#c95d8f", "#8a6fd1", "#b59a1d", "#2aa3b0", "#d1605a", "#7f9a3c")
MARKERS = ("circle", "square", "diamond", "triangle-up", "star", "hexagon", "pentagon", "triangle-down", "cross", "x")
_SCALES = (("MiB", 2.0**20), ("KiB", 2.0**10), ("bytes", 1.0))


def colour(index: int) -> str:
    """The colour of the stage at this place, the same all over the page."""
    return COLOURS[index % len(COLOURS)]


def figures(report: Report) -> list[dict[str, Any]]:
    """A Plotly figure (data and layout) for each plot that has at least one point."""
    drawn = (_figure(report, metric) for metric in ("size", "latency"))
    return [figure.to_plotly_json() for figure in drawn if figure.data]


def shown(report: Report, stage: Stage) -> bool:
    """Whether any plot has a point for the stage."""
    across = report.find(stage.name, "size") or report.find(stage.name, "latency")
    return bool(across and report.find(stage.name, "accuracy"))


def _figure(report: Report, metric: str) -> Any:
    import plotly.graph_objects as go

    points = list(_points(report, metric))
    unit, scale = _scale(points)
    most = max((across.value for _, _, across, _ in points), default=0.0)
    figure = go.Figure()
    for index, stage, across, accuracy in points:
        figure.add_scatter(
            x=[across.value / scale],
            y=[accuracy.value],
            error_x=_whisker(None if across.spread is None else across.spread / scale),
            error_y=_whisker(accuracy.spread),
            mode="markers+text",
            marker={"color": colour(index), "symbol": MARKERS[index % len(MARKERS)], "size": 11},
            text=[_short(stage)],
            # Towards the middle, so that nothing runs over the edge; in turns above and below, as neighbours on the
            # way are often neighbours in the plot.
            textposition=f"{'top' if index % 2 else 'bottom'} {'left' if across.value > most / 2 else 'right'}",
            hovertext=[_hover(stage, across, accuracy)],
            hoverinfo="text",
        )
    figure.update_layout(
        title_text=f"Accuracy against {metric}",
        xaxis={"title": {"text": f"{metric}, {escape(unit)}"}, "rangemode": "tozero"},
        yaxis={"title": {"text": f"accuracy, {escape(points[0][3].unit)}" if points else ""}},
        showlegend=False,
        template="none",
    )
    return figure


def _points(report: Report, metric: str) -> Iterator[tuple[int, Stage, Record, Record]]:
    """Each number of the metric with the accuracy of its stage, the one from the same device if there is one."""
    for index, stage in enumerate(report.stages):
        accuracies = report.find(stage.name, "accuracy")
        for across in report.find(stage.name, metric):
            same = [accuracy for accuracy in accuracies if accuracy.device == across.device]
            for accuracy in (same or accuracies)[:1]:
                yield index, stage, across, accuracy


def _scale(points: list[tuple[int, Stage, Record, Record]]) -> tuple[str, float]:
    """The unit of the axis across, and what to divide by."""
    unit = points[0][2].unit if points else ""
    if unit != "bytes":
        return unit, 1.0
    most = max(across.value for _, _, across, _ in points)
    return next(((name, scale) for name, scale in _SCALES if most >= 2 * scale), _SCALES[-1])


def _whisker(spread: float | None) -> dict[str, Any]:
    return {"visible": False} if spread is None else {"array": [spread], "thickness": 1.2, "width": 4}


def _short(stage: Stage) -> str:
    """A label that leaves room for others: `baseline`, `01`, `litert`. Plotly reads text as HTML, hence the escape."""
    if stage.kind == "export":
        return escape(stage.name.partition(":")[2])
    number, dash, _ = stage.name.partition("-")
    return escape(number if dash and number.isdigit() else stage.name)


def _hover(stage: Stage, across: Record, accuracy: Record) -> str:
    numbers = (f"{label(r.metric)} {quantity(r.value, r.unit, r.spread)}" for r in (accuracy, across))
    device = (across.device,) if on_device(across) else ()
    return "<br>".join(map(escape, (stage.name, *numbers, *device)))
