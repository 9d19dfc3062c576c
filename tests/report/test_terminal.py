from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console

from paring.core.record import Origin, Record
from paring.report import Report, Stage, table


def shown(report, width=80, **options):
    console = Console(file=StringIO(), width=width, **options)
    console.print(table(report))
    return console.file.getvalue()


def test_a_wide_terminal_has_one_table(report):
    lines = shown(report, 160).splitlines()
    (heading,) = [line for line in lines if line.startswith("stage")]
    columns = ["accuracy", "size", "latency", "ratio", "peak memory", "agreement", "parameters", "MACs"]
    assert [heading.index(column) for column in columns] == sorted(heading.index(column) for column in columns)
    (pruned,) = [line for line in lines if line.startswith("01-prune.channels")]
    cells = ["92.02 ± 0.56 %", "1.35 MiB", "1.934 ± 0.031 ms", "×0.567", "46.0 MiB", "99.85 ± 0.09 %", "590 k", "5.3 M"]
    assert pruned.split("  ")[0] == "01-prune.channels"
    assert [cell.strip() for cell in pruned.split("  ") if cell.strip()][1:] == cells


@pytest.mark.parametrize("width", [20, 40, 60, 80, 100, 120])
def test_no_line_is_wider_than_the_terminal(report, hostile, width):
    for each in (report, hostile):
        assert max(map(len, shown(each, width).splitlines())) <= width


@pytest.mark.parametrize("width", [40, 60, 80, 100])
def test_what_does_not_fit_beside_goes_below(report, width):
    narrow = shown(report, width)
    for cell in ("92.02 ± 0.56 %", "1.35 MiB", "1.934 ± 0.031 ms", "×0.567", "46.0 MiB", "590 k", "5.3 M"):
        assert cell in narrow


def test_eighty_columns_hold_accuracy_size_and_latency_side_by_side(report):
    heading = next(line for line in shown(report, 80).splitlines() if line.startswith("stage"))
    assert heading.split() == ["stage", "accuracy", "size", "latency", "ratio"]


def test_a_long_name_leaves_room_for_numbers(report):
    stages = tuple(replace(stage, name=stage.name + "-very" * 20) for stage in report.stages)
    records = tuple(replace(record, stage=record.stage + "-very" * 20) for record in report.records)
    text = shown(replace(report, stages=stages, records=records), 80)
    heading = next(line for line in text.splitlines() if line.startswith("stage"))
    assert heading.split()[:4] == ["stage", "accuracy", "size", "latency"]


def test_verdicts_and_notes(report):
    text = shown(report)
    assert "✓ accuracy drop 0.75 pt, at most 1 pt\n" in text
    assert "✗ latency 0.841 ms, at most 0.8 ms, missed by 0.0412 ms\n" in text
    assert "  The latency budget is missed by 0.04 ms.\n" in text


def test_runtimes_are_listed_in_one_cell(report):
    other = replace(report.find("artifact:litert", "latency")[0], value=4.2, device="ONNX Runtime")
    text = shown(replace(report, records=(*report.records, other)))
    assert "0.841 ± 0.031 ms" in text
    assert "4.200 ± 0.031 ms" in text


def test_what_was_not_measured_is_marked(report):
    assert "~" not in shown(report)
    guess = Record(
        stage="baseline", metric="latency", value=9, unit="ms", device="d", origin=Origin.ESTIMATED, source=""
    )
    text = shown(Report(name="r", created="", paring="", stages=(Stage(name="baseline", title=""),), records=(guess,)))
    assert "~9.00 ms" in text
    assert "~ not measured" in text


def test_slower_is_red(report):
    plain = shown(report, 160, color_system="standard", force_terminal=True)
    assert "\x1b[1;31m×" not in plain
    slow = tuple(replace(r, value=1.4) if r.metric == "latency_ratio" else r for r in report.records)
    assert "\x1b[1;31m×1.40" in shown(replace(report, records=slow), 160, color_system="standard", force_terminal=True)


def test_names_are_not_markup_and_send_no_escapes(report, hostile):
    note = replace(report, notes=("[bold]layer[/bold]",))
    assert "[bold]layer[/bold]" in shown(note)
    assert "\x1b" not in shown(hostile)


def test_an_empty_report_has_its_name():
    assert shown(Report(name="empty", created="", paring="0.1.0")) == "empty · paring 0.1.0\n"


def test_invariants_that_hold_are_counted_step_by_step(report):
    held = {"shape": 12, "sparsity": 1, "rank": 8}
    stages = [replace(stage, invariants=held if stage.name.startswith("02") else {}) for stage in report.stages]
    lines = shown(replace(report, stages=tuple(stages)), 200).splitlines()
    (heading,) = [line for line in lines if "invariants that hold" in line]
    at = lines.index(heading)
    told = " ".join(line.split("  ")[-1].strip() for line in lines[at + 1 :] if line.strip())
    assert "12 shapes 1 sparsity mask 8 ranks" in " ".join(told.split())
    assert "invariants" not in shown(report, 200)
