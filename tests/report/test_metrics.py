from pathlib import Path

from paring.report.metrics import METRICS, label


def test_an_unknown_metric_keeps_its_name():
    assert label("macs") == "MACs"
    assert label("noise_robustness") == "noise robustness"


def test_every_metric_is_in_the_handbook():
    handbook = (Path(__file__).parents[2] / "docs" / "report.md").read_text("utf-8")
    assert [name for name in METRICS if f"\n| `{name}` |" not in handbook] == []
