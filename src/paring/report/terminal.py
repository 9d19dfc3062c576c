"""The report on a terminal, as wide as the terminal is."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from paring.core.record import Record
from paring.report.document import Report, Requirement, is_guess, is_slower
from paring.report.human import budget, invariants, printable, quantity
from paring.report.metrics import label

_MET, _MISSED = "green", "bold red"
_SHOWN = (
    "accuracy", "size", "latency", "latency_ratio", "zipped_size", "peak_memory", "agreement", "parameters", "macs"
)  # fmt: skip


def table(report: Report) -> RenderableType:
    """What there is to say at the end of a run: the stages, then the requirements and the notes.

    Columns that do not fit beside each other go on in a second table below the first.
    """
    return _Summary(report)


@dataclass(frozen=True, slots=True)
class _Column:
    """One column: its heading, and the cell of each stage."""

    heading: str
    cells: tuple[Text, ...]


@dataclass(frozen=True, slots=True)
class _Summary:
    report: Report

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        report = self.report
        yield Text(f"{printable(report.name)} · paring {printable(report.paring)}", style="bold")
        for stages in self._tables(console, options):
            yield Padding(stages, (1, 0, 0, 0), expand=False)
        if any(map(is_guess, report.records)):
            yield Text("~ not measured: estimated or published", style="dim")
        if report.requirements:
            yield Text()
        yield from map(_verdict, report.requirements)
        if report.notes:
            yield Text()
        yield from (Padding(Text(printable(note)), (0, 0, 0, 2), expand=False) for note in report.notes)

    def _tables(self, console: Console, options: ConsoleOptions) -> Iterator[Table]:
        """The stages with as many columns as fit, then with those that are left, and so on."""
        unbounded = options.update(max_width=10_000)
        row: list[_Column] = []
        for column in _columns(self.report):
            wide = Measurement.get(console, unbounded, self._table([*row, column])).maximum > options.max_width
            if row and wide:
                yield self._table(row)
                row = []
            row.append(column)
        if self.report.stages:
            yield self._table(row)

    def _table(self, columns: Sequence[_Column]) -> Table:
        grid = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
        grid.add_column("stage", overflow="fold", max_width=28)
        for column in columns:
            grid.add_column(column.heading, justify="right", overflow="fold")
        names = [Text(printable(stage.name)) for stage in self.report.stages]
        for cells in zip(names, *(column.cells for column in columns), strict=True):
            grid.add_row(*cells)
        return grid


def _columns(report: Report) -> Iterator[_Column]:
    """The columns that hold anything, the most important first."""
    for metric in _SHOWN:
        cells = tuple(_cell(report.find(stage.name, metric)) for stage in report.stages)
        if any(cells):
            yield _Column("ratio" if metric == "latency_ratio" else label(metric), cells)
    held = tuple(Text("\n".join(map(printable, invariants(stage.invariants).split(", ")))) for stage in report.stages)
    if any(held):
        yield _Column("invariants that hold", held)


def _cell(records: Sequence[Record]) -> Text:
    """A line for each record: there are several where a stage was measured on several runtimes."""
    return Text("\n").join(map(_number, records))


def _number(record: Record) -> Text:
    mark, unit = "~" if is_guess(record) else "", printable(record.unit)
    if record.metric == "latency_ratio":  # its spread is the latency's own, one column to the left
        return Text(f"{mark}×{quantity(record.value, unit)}", style=_MISSED if is_slower(record) else "")
    return Text(mark + quantity(record.value, unit, record.spread))


def _verdict(requirement: Requirement) -> Text:
    """One line: the mark, the name, what was reached and what was asked for."""
    unit = printable(requirement.unit)
    line = Text.assemble(
        ("✓ " if requirement.met else "✗ ", _MET if requirement.met else _MISSED),
        f"{label(printable(requirement.name))} {budget(requirement.value, unit)}, ",
        (f"{requirement.bound} {budget(requirement.limit, unit)}", "dim"),
    )
    if not requirement.met:
        line.append(f", missed by {budget(requirement.shortfall, unit)}", _MISSED)
    return line
