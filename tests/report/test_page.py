import json
import re
import sys
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from paring.core.errors import MissingExtra, ParingError
from paring.report import Report, Stage, write_html
from paring.report.plots import figures

VOID = {"meta", "link", "img", "br", "hr", "input"}


class Page(HTMLParser):
    """A page taken apart: its tags with their attributes, its scripts, and the text a reader sees."""

    def __init__(self, source):
        super().__init__()
        self.tags, self.scripts, self.open, self.text = [], {}, [], ""
        self.feed(source)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        opened, _ = self.open.pop()
        assert opened == tag, f"<{opened}> is closed by </{tag}> at {self.getpos()}"

    def handle_data(self, data):
        tag, attributes = self.open[-1] if self.open else ("", {})
        if tag == "script":
            self.scripts[attributes.get("id")] = self.scripts.get(attributes.get("id"), "") + data
        elif tag != "style":
            self.text += data

    def words(self):
        return " ".join(self.text.split())


@pytest.fixture
def page(tmp_path):
    def made(report):
        source = write_html(report, tmp_path / "report.html").read_text("utf-8")
        whole = Page(source)
        assert whole.open == []
        return whole

    return made


def test_it_says_what_the_report_says(report, page):
    words = page(report).words()
    for text in (
        "mobilenet_v2-fashion", "24 November 2026, 14:03 UTC",
        "accuracy 91.66 % 92.41 % before · ± 0.56",
        "size 7.45× smaller 2.78 MiB → 382 KiB",
        "latency 4× faster 3.412 ms → 0.841 ms",
        "peak memory unchanged 46.0 MiB → 46.0 MiB",
        "1 of 2 is not met.", "at most 0.8 ms · missed by 0.0412 ms",
        "The latency budget is missed by 0.04 ms.",
        "12 min 34 s", "from an earlier run", "Took out 38 % of the channels", "its outputs are the classes",
        "steps/01-prune.channels/model.safetensors", "speedup: 2.0", "92.02 ± 0.56 %",
        "local: x86-64, 4 cores · LiteRT 2.3.0 · 1 thread", "a CPU", "2.13.0",
    ):  # fmt: skip
        assert text.replace("\N{NO-BREAK SPACE}", " ") in words, text


def test_invariants_are_told_with_their_step(report, page):
    held = replace(report.stages[2], invariants={"scale": 3, "sparsity": 1})
    text = page(replace(report, stages=(*report.stages[:2], held, report.stages[3]))).words()
    assert "✓ 3 scales, 1 sparsity mask" in text
    assert "Looked at after it, and all hold: 3 scales, 1 sparsity mask." in text
    assert "Looked at after it" not in page(report).words()


def test_all_requirements_met(report, page):
    met = replace(report, requirements=tuple(replace(r, met=True, shortfall=0) for r in report.requirements[:1]))
    assert "It is met." in page(met).words()


def test_a_slower_result_is_called_slower(report, page):
    slow = tuple(replace(r, value=1.4) if r.metric == "latency_ratio" else r for r in report.records)
    assert "1.4× slower" in page(replace(report, records=slow)).words()


def test_it_asks_for_nothing_from_anywhere(report, page):
    whole = page(report)
    policy = next(a["content"] for tag, a in whole.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none';")
    assert "connect-src" not in policy
    for tag, attributes in whole.tags:
        assert tag not in {"link", "iframe", "object", "embed", "base", "form"}
        assert not {"src", "srcset", "href", "action", "data", "ping"} & attributes.keys(), (tag, attributes)
    assert whole.scripts.keys() == {"plotly", "draw"}
    own = (whole.scripts["draw"], whole.text, *(str(attributes) for _, attributes in whole.tags))
    assert not re.search(r"https?:|//\w+\.|fetch\(|XMLHttpRequest|import\(|url\(", "".join(own).replace("// ", ""))


def test_the_style_asks_for_nothing(report, tmp_path):
    source = write_html(report, tmp_path / "report.html").read_text("utf-8")
    style = source[source.index("<style>") : source.index("</style>")]
    assert not re.search(r"url\(|@import|https?:", style)


def test_it_suits_a_phone_and_the_dark(report, page, tmp_path):
    whole = page(report)
    assert ("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}) in whole.tags
    assert "prefers-color-scheme: dark" in (tmp_path / "report.html").read_text("utf-8")


def test_nothing_breaks_out_of_its_place(hostile, page, tmp_path):
    whole = page(hostile)
    assert whole.scripts.keys() == {"plotly", "draw"}
    assert not [tag for tag, _ in whole.tags if tag == "img"]
    assert not [a for _, a in whole.tags if any(name.startswith("on") for name in a)]
    assert hostile.notes[0] in whole.text
    assert "49" not in whole.text  # {{ 7 * 7 }} stays what it is
    assert "<script>owned" not in (tmp_path / "report.html").read_text("utf-8")


def test_the_plots_are_drawn_from_the_figures(report, page):
    found = re.search(r"const figures = (.*);\n", page(report).scripts["draw"])
    assert json.loads(found[1]) == json.loads(json.dumps(figures(report)))


def test_no_device_is_not_a_device(report, page):
    records = tuple(replace(r, device="none") if r.metric == "size" else r for r in report.records)
    whole = page(replace(report, records=records))
    assert whole.words().count("none") == 3  # in the table of every record, once for each size
    assert not [a for _, a in whole.tags if "none" in a.get("title", "")]


def test_a_title_that_repeats_the_name_is_shown_once(page):
    once = Report(name="r", created="", paring="", stages=(Stage(name="01-prune.channels", title="prune.channels"),))
    words = page(once).words()
    assert words.count("prune.channels") == words.count("01-prune.channels") == 2  # in the workflow and the details


def test_a_failed_write_leaves_the_old_page(report, tmp_path, monkeypatch):
    path = write_html(report, tmp_path / "report.html")
    before = path.read_bytes()
    monkeypatch.setattr("os.fsync", lambda descriptor: (_ for _ in ()).throw(OSError(28, "no space")))
    with pytest.raises(ParingError, match="no space"):
        write_html(replace(report, name="new"), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_nothing_to_plot_means_no_plotly(report, page, tmp_path):
    whole = page(replace(report, records=report.find("baseline", "accuracy")))
    assert whole.scripts == {}
    assert (tmp_path / "report.html").stat().st_size < 50_000
    assert "Trade-offs" not in whole.text


@pytest.mark.parametrize("stages", [(), ("baseline",), ("01-a",), ("baseline", "artifact:x", "artifact:y")])
def test_little_is_enough(page, stages):
    little = Report(
        name="little", created="", paring="0.1.0", stages=tuple(Stage(name=name, title=name) for name in stages)
    )
    assert "little" in page(little).words()


def test_artifacts_stand_side_by_side_in_the_workflow(report, page):
    both = replace(report, stages=(*report.stages, Stage(name="artifact:executorch", title="ExecuTorch file")))
    whole = page(both)
    assert sum(a.get("class") == "box" for _, a in whole.tags) == 6  # five stages, and the measuring
    flow = next(index for index, (tag, a) in enumerate(whole.tags) if a.get("class") == "flow")
    after = next(i for i, (tag, _) in enumerate(whole.tags) if i > flow and tag == "section")
    assert sum(tag == "li" for tag, _ in whole.tags[flow:after]) == 5


def test_an_unknown_metric_has_a_column(report, page):
    new = replace(report.records[0], metric="noise_robustness", value=77.7)
    words = page(replace(report, records=(*report.records, new))).words()
    assert "noise robustness" in words
    assert "77.70 ± 0.56 %" in words


def test_broken_text_does_not_cost_the_report(report, page):
    assert "before ?" in page(replace(report, notes=("before \udcff",))).words()


def test_without_plotly_the_extra_is_named(report, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "plotly", None)
    monkeypatch.setitem(sys.modules, "plotly.offline", None)
    with pytest.raises(MissingExtra, match=re.escape("paring[report]")):
        write_html(report, tmp_path / "report.html")
    assert list(tmp_path.iterdir()) == []
