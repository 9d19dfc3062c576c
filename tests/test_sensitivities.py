"""`paring sensitivity`: one layer at a time."""

import json
import subprocess
import sys

import pytest

import paring
from paring.core.errors import ParingError, UnknownName
from paring.train.evaluate import evaluate

MODEL, DATA = "torch:paring.testing.structures:chain", "python:paring.testing.models:TinyTask"


def run(folder, **given):
    return paring.sensitivity(MODEL, DATA, **{"ratios": (0.25, 0.75), "samples": 32, "out": folder, **given})


def test_channels(tmp_path):
    found = run(tmp_path)
    assert [one.layer for one in found.layers] == ["stem.0", "down", "hidden"]
    assert [(one.size, one.pruned) for one in found.layers] == [(16, (4, 12)), (24, (6, 18)), (32, (8, 24))]
    assert found.left["classifier"] == "its channels are the network's answers"
    assert found.samples == 32
    written = json.loads((tmp_path / "sensitivity.json").read_text())
    assert written == json.loads(json.dumps(found.as_json()))
    assert written["schema"] == "paring.sensitivity/1"
    assert "<html" in (tmp_path / "sensitivity.html").read_text()


def test_weights(tmp_path):
    found = run(tmp_path, by="weights")
    assert {one.layer for one in found.layers} == {
        "stem.0", "blocks.0.0", "blocks.1.0", "blocks.2.0", "down", "shortcut", "hidden", "classifier",
    }  # fmt: skip
    assert next(one for one in found.layers if one.layer == "classifier").pruned == (80, 240)
    assert all(one.loss[0] != found.loss for one in found.layers)


def test_a_killed_one_goes_on(tmp_path, monkeypatch):
    import paring.sensitivities as module

    whole = run(tmp_path / "whole")
    calls = []

    def counted(*args, **kwargs):
        calls.append(None)
        if len(calls) == 4:  # the whole network, the first layer, half of the second
            raise KeyboardInterrupt
        return evaluate(*args, **kwargs)

    monkeypatch.setattr(module, "evaluate", counted)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "killed")
    assert run(tmp_path / "killed") == whole
    assert len(calls) == 4 + 1 + 4
    run(tmp_path / "killed", ratios=(0.5,))  # other ratios are other work
    assert len(calls) == 9 + 1 + 3


def test_how_long_it_takes_is_said_before(tmp_path):
    from paring.core.progress import Silent

    said = []

    class Noted(Silent):
        def note(self, text):
            said.append(text)

    run(tmp_path, progress=Noted())
    assert said[0].startswith("3 layers at 2 ratios: about ")


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"by": "chanels"}, UnknownName),
        ({"ratios": (1.0,)}, ParingError),
        ({"ratios": ()}, ParingError),
        ({"ratios": (-0.1,)}, ParingError),
    ],
)
def test_bad_input_is_refused(tmp_path, given, error):
    with pytest.raises(error):
        run(tmp_path, **given)


def test_the_command(tmp_path):
    code = "from paring.cli import main; main()"
    line = [sys.executable, "-c", code, "sensitivity", MODEL, "--data", DATA, "--out", str(tmp_path)]
    done = subprocess.run([*line, "--ratios", "0.5"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "hidden" in done.stdout
    assert "−50 %" in done.stdout
    bad = subprocess.run([*line, "--ratios", "half"], capture_output=True, text=True, check=False)
    assert bad.returncode == 2
    assert "--ratios" in bad.stderr
