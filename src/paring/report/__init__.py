"""Records in; terminal, HTML and JSON out. Nothing is computed here."""

from paring.report.document import Report, Requirement, Stage
from paring.report.page import write_html
from paring.report.serialize import read_json, write_json
from paring.report.sheet import Bars, Sheet, write_findings, write_sheet
from paring.report.terminal import table

__all__ = [
    "Bars",
    "Report",
    "Requirement",
    "Sheet",
    "Stage",
    "read_json",
    "table",
    "write_findings",
    "write_html",
    "write_json",
    "write_sheet",
]
